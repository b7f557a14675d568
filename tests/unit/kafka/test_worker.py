"""The real worker program, without a Kafka."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from sidestream.kafka import frames
from sidestream.kafka.process import COMMAND

NOBODY = {"bootstrap.servers": "127.0.0.1:1"}
DEADLINE = 60.0

CHATTY = """
import os, sys
from sidestream.kafka import verbs, worker

def call(self, verb, args, timeout):
    print("a stray print")
    os.write(1, b"and one from a library")
    return verb

verbs.Verbs.call = call
sys.exit(worker.main())
"""


class Worker:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def send(self, **message: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(frames.encode(message))
        self.process.stdin.flush()

    def receive(self) -> frames.Message | None:
        assert self.process.stdout is not None
        return frames.read(self.process.stdout)

    def hang_up(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(DEADLINE)


@contextmanager
def started(*command: str) -> Iterator[Worker]:
    with subprocess.Popen(
        command or COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield Worker(process)
        finally:
            process.kill()


def test_it_answers_by_the_number_of_the_call() -> None:
    with started() as worker:
        worker.send(config=NOBODY, threads=2)
        assert worker.receive() == {"ready": True}
        worker.send(id=7, verb="cluster", args={}, timeout=0.2)
        answer = worker.receive()
        assert answer is not None
        assert (answer["id"], answer["failure"]["name"]) == (7, "_TIMED_OUT")


def test_it_says_which_property_is_wrong_and_ends() -> None:
    with started() as worker:
        worker.send(config={**NOBODY, "bogus": "1"}, threads=2)
        answer = worker.receive()
        assert answer is not None
        assert 'No such configuration property: "bogus"' in answer["failure"]["text"]
        assert worker.process.wait(DEADLINE) == 1


@pytest.mark.parametrize("is_busy", [False, True], ids=["idle", "with a call in flight"])
def test_it_ends_with_its_input(*, is_busy: bool) -> None:
    with started() as worker:
        worker.send(config=NOBODY, threads=2)
        worker.receive()
        if is_busy:
            worker.send(id=1, verb="cluster", args={}, timeout=3600.0)
        assert worker.hang_up() == 0


def test_it_ends_when_it_is_never_given_a_configuration() -> None:
    with started() as worker:
        assert worker.hang_up() == 0


def test_what_is_printed_does_not_mix_with_the_answers() -> None:
    with started(sys.executable, "-c", CHATTY) as worker:
        worker.send(config=NOBODY, threads=2)
        assert worker.receive() == {"ready": True}
        for number in (1, 2):
            worker.send(id=number, verb="group", args={}, timeout=1.0)
            assert worker.receive() == {"id": number, "result": "group"}


def test_a_bug_in_a_verb_is_answered_too() -> None:
    with started() as worker:
        worker.send(config=NOBODY, threads=2)
        worker.receive()
        worker.send(id=1, verb="no such verb", args={}, timeout=1.0)
        answer = worker.receive()
        assert answer is not None
        assert answer["failure"]["name"] == "WORKER_BUG"
