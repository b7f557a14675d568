"""The child process that holds the Kafka client of one KafkaCluster: `python -m sidestream.kafka.worker`.

It takes frames on standard input and answers on standard output. The first frame is `{"config", "threads"}`: the
client's properties (the only place where credentials pass) and how many calls may run at once. Then come
`{"id", "verb", "args", "timeout"}`, each answered by `{"id", "result"}` or `{"id", "failure"}` in any order. The worker
ends when standard input does.
"""

from __future__ import annotations

import faulthandler
import os
import resource
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO

from confluent_kafka import KafkaException

from sidestream.kafka import frames
from sidestream.kafka.frames import Message
from sidestream.kafka.translation import Failure
from sidestream.kafka.verbs import RefusedError, Verbs


class _Output:
    """The pipe to the parent; frames of several threads do not mix."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, message: Message) -> None:
        with self._lock:
            self._stream.write(frames.encode(message))
            self._stream.flush()


def main() -> int:
    """Serve until standard input ends; the exit code is 1 when the configuration was refused."""
    _harden()
    output = _Output(_claim_stdout())
    source = sys.stdin.buffer
    first = frames.read(source)
    if first is None:
        return 0
    try:
        verbs = Verbs(first.pop("config"))
    except KafkaException as error:
        code = error.args[0]
        output.send({"failure": Failure(code.name(), code.str()).to_json()})
        return 1
    output.send({"ready": True})
    pool = ThreadPoolExecutor(max_workers=first["threads"], thread_name_prefix="verb")
    while (request := frames.read(source)) is not None:
        pool.submit(_answer, request, output, verbs)
    # calls in flight may take their whole deadline, and nobody is left to hear of them
    os._exit(0)


def _answer(request: Message, output: _Output, verbs: Verbs) -> None:
    answer: Message = {"id": request["id"]}
    try:
        answer["result"] = verbs.call(request["verb"], request["args"], request["timeout"])
    except RefusedError as error:
        answer["failure"] = error.failure.to_json()
    except Exception as error:  # noqa: BLE001 - a bug here must reach the parent, not vanish with its thread
        answer["failure"] = Failure("WORKER_BUG", f"{type(error).__name__}: {error}").to_json()
    output.send(answer)


def _claim_stdout() -> BinaryIO:
    """Keep standard output for frames: whatever else writes there goes to standard error from now on."""
    own = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return own


def _harden() -> None:
    """Say on standard error where a crash happened, leave no core file with credentials, leave Ctrl-C to the parent."""
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    sys.exit(main())
