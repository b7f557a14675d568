from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.client import IncompleteRead
from pathlib import Path
from typing import Any

import pytest

from builders import FakeClock
from fakes.mapping_server import EPOCH, MappingServer, change_json, mapping_json, mapping_server
from sidestream_sdk.fetch import Answer
from sidestream_sdk.identity import Identity
from sidestream_sdk.mapping import MappingClient
from sidestream_sdk.ownership import Mapping
from sidestream_sdk.pace import FIRST_PAUSE_SECONDS, RETRY_SECONDS

BASELINE = Identity("http://mapping", "shop/fulfilment")
FORK = Identity("http://mapping", "shop/fulfilment", "alice")
UNKNOWN = Answer(404, body=b'{"reason": "UnknownConsumer", "message": "No KafkaConsumer names it."}')


class Script:
    """Answers in the order given; the last one again and again."""

    def __init__(self, *answers: Answer | Exception) -> None:
        self.answers = list(answers)
        self.etags: list[str] = []
        self.waits: list[str] = []

    def get(self, url: str, *, etag: str, timeout: float) -> Answer:
        path, _, wait = url.partition("?")
        assert path == "http://mapping/v1/consumers/shop/fulfilment"
        assert timeout > float(wait.removeprefix("wait=") or 0)
        self.etags.append(etag)
        self.waits.append(wait)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def break_off(self) -> None:
        """Nothing is ever in flight."""

    def close(self) -> None:
        """Nothing is ever in flight."""


def ok(*changes: dict[str, Any], etag: str = '"1"', poll_interval: float = 10) -> Answer:
    return Answer(200, etag, json.dumps(mapping_json(*changes, poll_interval=poll_interval)).encode())


def versioned(version: int, seen: int | None, *changes: dict[str, Any], epoch: str = EPOCH) -> Answer:
    body = mapping_json(*changes, poll_interval=10, version=version) | {"epoch": epoch}
    return Answer(200, f'"{version}-{len(changes)}"', json.dumps(body).encode(), seen)


def client(script: Script, identity: Identity = BASELINE, clock: FakeClock | None = None) -> MappingClient:
    return MappingClient(identity, fetch=script, monotonic=(clock or FakeClock()).monotonic)


def phase(mapping: Mapping | None) -> str:
    assert mapping is not None
    return mapping.topics["orders.created"].changes[0].phase


def test_once_a_mapping_is_read_the_next_one_is_waited_for() -> None:
    script = Script(ok(change_json(), poll_interval=10))
    reader = client(script)

    assert reader.mapping is None
    assert reader.poll() == FIRST_PAUSE_SECONDS
    assert phase(reader.mapping) == "Active"
    reader.poll()
    assert script.waits == ["", "wait=5"]
    assert script.etags == ["", '"1"']


def test_an_unchanged_mapping_costs_no_body() -> None:
    script = Script(ok(etag='"7"'), Answer(304))
    clock = FakeClock()
    reader = client(script, clock=clock)

    reader.poll()
    first = reader.mapping
    clock.move(5)
    assert reader.age() == 5
    reader.poll()

    assert script.etags == ["", '"7"']
    assert reader.mapping is first
    assert reader.age() == 0


# --- versions


def test_an_answer_of_a_replica_that_lags_behind_is_not_taken(caplog: pytest.LogCaptureFixture) -> None:
    script = Script(versioned(20, 30, change_json()), versioned(25, 29, change_json(phase="Draining")))
    reader = client(script)
    reader.poll()

    pause = reader.poll()

    assert phase(reader.mapping) == "Active"
    assert reader.seen == 30
    assert reader.stale_answers == 1
    assert pause <= RETRY_SECONDS
    assert caplog.records == []


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(versioned(20, 30, change_json(phase="Draining")), id="that has seen as much"),
        pytest.param(versioned(31, None, change_json(phase="Draining")), id="that does not tell, but says more"),
        pytest.param(versioned(5, 6, change_json(phase="Draining"), epoch="other"), id="of another installation"),
    ],
)
def test_every_other_answer_is_taken(answer: Answer) -> None:
    reader = client(Script(versioned(20, 30, change_json()), answer))
    reader.poll()
    reader.poll()

    assert phase(reader.mapping) == "Draining"
    assert reader.stale_answers == 0


def test_an_unchanged_mapping_may_have_been_seen_to_be_newer() -> None:
    reader = client(Script(versioned(20, 30), Answer(304, seen=40), Answer(304, seen=35), Answer(304)))
    for expected in (30, 40, 40, 40):
        reader.poll()
        assert reader.seen == expected


def test_who_needs_a_newer_mapping_asks_without_waiting_until_it_is_there() -> None:
    script = Script(versioned(20, 20), versioned(20, 20), versioned(20, 25), Answer(304))
    reader = client(script)
    reader.poll()
    reader.catch_up(25, EPOCH)

    for _ in range(3):
        reader.poll()

    assert script.waits == ["", "", "", "wait=5"]
    assert script.etags == ["", "", "", '"20-0"']


@pytest.mark.parametrize(
    ("version", "epoch"),
    [pytest.param(20, EPOCH, id="that is there"), pytest.param(99, "other", id="of another installation")],
)
def test_a_version_that_is_no_news_is_not_asked_for(version: int, epoch: str) -> None:
    script = Script(versioned(20, 20), Answer(304))
    reader = client(script)
    reader.poll()
    reader.catch_up(version, epoch)

    reader.poll()

    assert script.waits == ["", "wait=5"]


def test_over_http_a_request_that_waits_is_broken_off_for_a_newer_mapping(
    server: MappingServer, started: Callable[[str | None], MappingClient], caplog: pytest.LogCaptureFixture
) -> None:
    server.publish(mapping_json(version=20, poll_interval=3600))
    reader = started(None)
    server.wait_for_waiting(1)
    begin = time.monotonic()

    server.seen = 25
    while reader.seen < 25:
        assert time.monotonic() - begin < 5, "the request that waits was waited for"
        reader.catch_up(25, EPOCH)
        time.sleep(0.05)

    assert caplog.records == [], "that the service is away was told, although it was us who broke off"


# --- failures

FAILURES = [
    pytest.param(OSError("Connection refused"), id="nothing listens"),
    pytest.param(TimeoutError("timed out"), id="no answer"),
    pytest.param(IncompleteRead(b""), id="cut off"),
    pytest.param(Answer(503), id="not ready"),
    pytest.param(Answer(401), id="not authorized"),
    pytest.param(Answer(404, body=b'{"detail": "Not Found"}'), id="somebody else's 404"),
    pytest.param(Answer(404, body=b'{"reason": "NoRoute", "message": "no such path"}'), id="a 404 much like ours"),
    pytest.param(Answer(404, body=b"<html>"), id="a proxy's 404"),
    pytest.param(Answer(200, body=b"<html>"), id="a page"),
    pytest.param(Answer(200, body=b"\xff\xfe"), id="bytes"),
    pytest.param(Answer(200, body=b"null"), id="null"),
    pytest.param(Answer(200, body=b"[" * 100_000), id="a tower of brackets"),
]


@pytest.mark.parametrize("failure", FAILURES)
def test_while_the_service_fails_the_last_mapping_stays(
    failure: Answer | Exception, caplog: pytest.LogCaptureFixture
) -> None:
    script = Script(ok(change_json()), failure, failure, failure, ok(change_json(phase="Draining"), etag='"2"'))
    clock = FakeClock()
    reader = client(script, clock=clock)
    reader.poll()
    caplog.set_level(logging.INFO, "sidestream_sdk")

    for _ in range(3):
        clock.move(1)
        assert reader.poll() <= RETRY_SECONDS
        assert phase(reader.mapping) == "Active"
    assert reader.age() == 3
    assert [record.levelname for record in caplog.records] == ["WARNING"], "one line for one change of state"
    assert "records are taken by the last mapping" in caplog.text

    reader.poll()
    assert phase(reader.mapping) == "Draining"
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


@pytest.mark.parametrize("failure", FAILURES)
def test_before_the_first_mapping_nothing_is_guessed(
    failure: Answer | Exception, caplog: pytest.LogCaptureFixture
) -> None:
    reader = client(Script(failure))

    assert 0 < reader.poll() <= RETRY_SECONDS
    assert reader.mapping is None
    assert reader.age() is None
    assert not reader.wait_until_loaded(timeout=0)
    assert "no record is taken before the first mapping" in caplog.text


def test_a_baseline_that_no_kafka_consumer_names_takes_every_record(caplog: pytest.LogCaptureFixture) -> None:
    reader = client(Script(ok(change_json()), UNKNOWN, ok(change_json())))
    reader.poll()

    assert reader.poll() == RETRY_SECONDS
    assert reader.mapping == Mapping("shop/fulfilment")
    assert "No KafkaConsumer names it; every record is taken." in caplog.text

    reader.poll()
    assert phase(reader.mapping) == "Active"


def test_a_fork_that_no_kafka_consumer_names_waits() -> None:
    reader = client(Script(UNKNOWN), FORK)

    reader.poll()

    assert reader.mapping is None


def test_a_fork_ignores_a_mapping_that_does_not_list_it() -> None:
    script = Script(ok(etag='"1"'), ok(change_json(), etag='"2"'), ok(etag='"1"'), Answer(304))
    clock = FakeClock()
    reader = client(script, FORK, clock)

    reader.poll()
    assert reader.mapping is None
    reader.poll()
    assert phase(reader.mapping) == "Active"
    clock.move(1)
    reader.poll()
    assert phase(reader.mapping) == "Active", "a replica that lags behind made the fork give up its records"
    assert reader.age() == 1
    reader.poll()
    assert script.etags == ["", "", '"2"', '"2"']
    assert reader.age() == 0


def test_without_room_to_wait_the_mapping_is_polled_and_nothing_is_wrong(caplog: pytest.LogCaptureFixture) -> None:
    full = Answer(503, body=b'{"reason": "TooManyWaiters", "message": "5000 requests wait here already."}')
    script = Script(ok(change_json(), poll_interval=10), full, Answer(304))
    reader = client(script)
    caplog.set_level(logging.INFO, "sidestream_sdk")

    for _ in range(3):
        reader.poll()

    assert script.waits == ["", "wait=5", ""]
    assert [record.levelname for record in caplog.records] == ["INFO"], "only that there is a mapping"


@pytest.fixture
def server() -> Iterator[MappingServer]:
    with mapping_server() as running:
        yield running


@pytest.fixture
def started(server: MappingServer) -> Iterator[Callable[[str | None], MappingClient]]:
    clients: list[MappingClient] = []

    def start(sandbox: str | None) -> MappingClient:
        reader = MappingClient(Identity(server.url, "shop/fulfilment", sandbox))
        reader.start()
        reader.start()
        clients.append(reader)
        return reader

    yield start
    for reader in clients:
        reader.close()


def test_over_http_changes_arrive_by_themselves(
    server: MappingServer, started: Callable[[str | None], MappingClient]
) -> None:
    server.publish(mapping_json(change_json(phase="Preparing")))
    reader = started(None)

    assert reader.wait_until_loaded(timeout=10)
    assert phase(reader.mapping) == "Preparing"
    server.wait_for_requests(2)
    assert server.requests[-1][2] == 304

    server.publish(mapping_json(change_json(phase="Active")))
    assert reader.wait_for(lambda mapping: phase(mapping) == "Active", timeout=10) is not None


def test_over_http_a_change_is_seen_long_before_the_next_poll_would_be(
    server: MappingServer, started: Callable[[str | None], MappingClient]
) -> None:
    server.publish(mapping_json(change_json(phase="Preparing"), poll_interval=3600))
    reader = started(None)
    server.wait_for_waiting(1)

    server.publish(mapping_json(change_json(phase="Active"), poll_interval=3600))

    assert reader.wait_for(lambda mapping: phase(mapping) == "Active", timeout=10) is not None
    assert [path.partition("?")[2] for path, _, _ in server.requests[:2]] == ["", "wait=25"]


def test_over_http_an_older_service_that_does_not_wait_is_polled(
    server: MappingServer, started: Callable[[str | None], MappingClient]
) -> None:
    server.waits = False
    server.publish(mapping_json(change_json(phase="Preparing"), poll_interval=0.4))
    reader = started(None)
    begin = time.monotonic()
    server.wait_for_requests(6)

    assert time.monotonic() - begin > 4 * 0.1, "it was asked again and again without a pause"
    server.publish(mapping_json(change_json(phase="Active"), poll_interval=0.4))
    assert reader.wait_for(lambda mapping: phase(mapping) == "Active", timeout=10) is not None


def test_over_http_a_request_in_flight_is_broken_off_when_the_client_closes(
    server: MappingServer, started: Callable[[str | None], MappingClient], caplog: pytest.LogCaptureFixture
) -> None:
    server.publish(mapping_json(poll_interval=3600))
    reader = started(None)
    server.wait_for_waiting(1)
    thread = reader._thread
    assert thread is not None

    begin = time.monotonic()
    reader.close()
    assert time.monotonic() - begin < 1
    thread.join(timeout=10)

    assert not thread.is_alive()
    assert caplog.records == [], "that the service is away was told, although it was us who went"
    with pytest.raises(ConnectionAbortedError):
        reader._fetch.get(reader.identity.url, etag="", timeout=1)


def test_the_token_is_read_for_each_request_as_it_is_replaced(server: MappingServer, tmp_path: Path) -> None:
    server.publish(mapping_json())
    file = tmp_path / "token"
    reader = MappingClient(Identity(server.url, "shop/fulfilment", token_file=str(file)))

    for token in ("first", "second"):
        file.write_text(f"{token}\n")
        reader.poll()
    file.unlink()
    reader.poll()

    assert server.authorizations == ["Bearer first", "Bearer second"]
    assert reader.mapping is not None, "the last mapping stays"


def test_without_a_token_file_no_token_is_sent(server: MappingServer) -> None:
    MappingClient(Identity(server.url, "shop/fulfilment")).poll()

    assert server.authorizations == [""]


def test_why_the_service_refuses_is_told(caplog: pytest.LogCaptureFixture) -> None:
    client(
        Script(Answer(401, body=b'{"reason": "Unauthorized", "message": "The request has no bearer token."}'))
    ).poll()

    assert "the mapping service answers HTTP 401 (The request has no bearer token);" in caplog.text


def test_over_http_errors_are_answers(server: MappingServer, started: Callable[[str | None], MappingClient]) -> None:
    server.answer(404, UNKNOWN.body)
    reader = started(None)

    assert reader.wait_for(lambda mapping: not mapping.topics, timeout=10) is not None


def test_a_waiting_thread_is_let_go_when_the_client_closes(
    server: MappingServer, started: Callable[[str | None], MappingClient]
) -> None:
    server.answer(503)
    reader = started(None)
    server.wait_for_requests(1)

    reader.close()

    assert reader.wait_until_loaded(timeout=None) is False


def test_the_proxy_of_the_environment_is_not_used(server: MappingServer) -> None:
    server.publish(mapping_json())
    program = (
        "import sys; from sidestream_sdk import Identity, MappingClient;"
        "client = MappingClient(Identity(sys.argv[1], 'shop/fulfilment')); client.poll(); print(client.mapping)"
    )
    nowhere = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY"), "http://127.0.0.1:9")
    env = {name: value for name, value in os.environ.items() if name.lower() != "no_proxy"} | nowhere

    # a process of its own: proxies are looked up when the module is loaded
    ended = subprocess.run([sys.executable, "-c", program, server.url], env=env, capture_output=True, check=True)

    assert b"fulfilment" in ended.stdout, ended.stderr
