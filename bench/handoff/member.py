"""A member of a consumer group, as an application would be one: `python -m bench.handoff.member POST`.

It handles a record (a line in its file), and only then is the record committed. Killed in between, it or another
member of the same version is given the record again.
"""

import signal
import sys
import threading
import time
from typing import TextIO

from confluent_kafka import KafkaException, Message

from bench.handoff.handled import NOBODY, Handled, Place, append
from bench.handoff.post import Post
from sidestream_sdk import HeaderRules, MappingClient, SandboxConsumer
from sidestream_sdk.baggage import tenant_reader
from sidestream_sdk.fetch import Answer, HttpFetch

POLL_SECONDS = 0.2
COMMIT_EVERY = 20
SESSION_MS = 6000
"""The shortest that brokers allow by default, so that the partitions of a killed member are soon somebody's again."""


class LateFetch:
    """Implements `Fetch` of the SDK for a consumer that asks for the mapping now and then and sees nothing between."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._fetch = HttpFetch()
        self._closed = threading.Event()
        self._due = time.monotonic()

    def get(self, url: str, *, etag: str, timeout: float) -> Answer:
        """The answer to a plain request, once it is time for the next."""
        self._closed.wait(self._due - time.monotonic())
        self._due = time.monotonic() + self._seconds
        return self._fetch.get(url.partition("?")[0], etag=etag, timeout=timeout)

    def break_off(self) -> None:
        """Whoever only asks now and then is not to be hurried."""

    def close(self) -> None:
        """As of `Fetch`."""
        self._closed.set()
        self._fetch.close()


class Member:
    """Reads until it is told to stop."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._stopping = False
        self._uncommitted = 0
        self._tenant_of = tenant_reader(HeaderRules())

    def run(self) -> None:
        """Join the group, handle what comes, and leave it in an orderly way."""
        signal.signal(signal.SIGTERM, lambda *_: self._stop())
        post = self._post
        fetch = LateFetch(post.lag) if post.lag else None
        client = MappingClient(post.identity, fetch=fetch)
        with post.file.open("a") as file, SandboxConsumer(_config(post), mapping=client) as consumer:
            consumer.subscribe([post.topic])
            while not self._stopping:
                message = consumer.poll(POLL_SECONDS)
                if message is not None and message.error() is None:
                    self._handle(message, file)
                if self._uncommitted and (message is None or self._uncommitted >= COMMIT_EVERY):
                    self._commit(consumer)
            self._commit(consumer)
        client.close()

    def _stop(self) -> None:
        self._stopping = True

    def _handle(self, message: Message, file: TextIO) -> None:
        post = self._post
        if post.work:
            time.sleep(post.work)
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        key, value = message.key(), message.value()
        if topic is None or partition is None or offset is None or key is None or value is None:
            raise AssertionError("a record has all of these")
        tenant = self._tenant_of(message.headers() or ()).key or NOBODY
        place = Place(topic, partition, offset)
        moment = time.monotonic()
        append(file, Handled(post.version, post.name, place, tenant, key.decode(), int(value), moment))
        self._uncommitted += post.commits_itself

    def _commit(self, consumer: SandboxConsumer) -> None:
        if not self._uncommitted:
            return
        self._uncommitted = 0
        try:
            consumer.commit(asynchronous=False)
        except KafkaException as error:
            # The partitions are another member's by now, which is given these records again.
            sys.stderr.write(f"not committed: {error}\n")


def _config(post: Post) -> dict[str, object]:
    return {
        "bootstrap.servers": post.bootstrap,
        "group.id": post.group,
        "auto.offset.reset": "earliest",
        "session.timeout.ms": SESSION_MS,
        "enable.auto.commit": not post.commits_itself,
        "log_level": 4,
    }


def main() -> None:
    """Run the command line."""
    Member(Post.from_json(sys.argv[1])).run()


if __name__ == "__main__":
    main()
