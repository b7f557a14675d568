from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from sidestream.errors import GroupBusyError, KafkaError, KafkaUnavailableError
from sidestream.kafka.config import ClientConfig
from sidestream.kafka.supervisor import Supervisor, Timing
from sidestream.kafka.translation import Deed, Endpoint
from sidestream.runtime.metrics import REGISTRY
from sidestream.runtime.queue import Backoff
from unit.kafka.test_process import COMMAND, LONG, is_alive

PATIENT = Timing(call=LONG, patience=LONG, start=LONG, ready=LONG, rest=0.0, backoff=Backoff(0.01, 0.01, 0.01))
HASTY = replace(PATIENT, call=0.1, patience=0.1)
DEED = Deed("do it", "Read", "fulfilment.sbx.alice")


@asynccontextmanager
async def supervised(
    start: str = "", timing: Timing = PATIENT, *, name: str = "main", secrets: frozenset[str] = frozenset()
) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(
        Endpoint(name, "kafka:9092"), ClientConfig({"start": start}, secrets), command=COMMAND, timing=timing
    )
    supervisor.start()
    try:
        yield supervisor
    finally:
        await supervisor.aclose()


def counted(metric: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(metric, labels) or 0.0


async def test_calls_wait_for_the_worker_to_start() -> None:
    async with supervised() as supervisor:
        assert await supervisor.call("echo", {"a": 1}, DEED) == {"a": 1}


@pytest.mark.parametrize("verb", ["crash", "garbage"])
async def test_the_call_in_flight_fails_and_the_next_one_has_a_new_worker_after(verb: str) -> None:
    async with supervised() as supervisor:
        await supervisor.call("echo", {}, DEED)
        before = supervisor.pid
        with pytest.raises(KafkaUnavailableError, match="KafkaCluster main broke off"):
            await supervisor.call(verb, {}, DEED)
        assert await supervisor.call("echo", {"a": 1}, DEED) == {"a": 1}
        assert supervisor.pid != before


async def test_a_worker_killed_in_mid_call_fails_that_call_and_is_replaced() -> None:
    async with supervised() as supervisor:
        await supervisor.call("echo", {}, DEED)
        pid = supervisor.pid
        assert pid is not None
        waiting = asyncio.create_task(supervisor.call("hang", {}, DEED))
        await supervisor.call("echo", {}, DEED)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(KafkaUnavailableError, match="SIGKILL"):
            await waiting
        assert await supervisor.call("echo", {"a": 1}, DEED) == {"a": 1}


async def test_a_worker_that_hangs_is_ended_and_replaced() -> None:
    async with supervised(timing=replace(PATIENT, patience=0.0)) as supervisor:
        await supervisor.call("echo", {}, DEED)
        pid = supervisor.pid
        assert pid is not None
        supervisor._timing = HASTY
        with pytest.raises(KafkaUnavailableError, match="silence"):
            await supervisor.call("hang", {}, DEED)
        supervisor._timing = PATIENT
        assert await supervisor.call("echo", {"a": 1}, DEED) == {"a": 1}
        assert supervisor.pid != pid
        assert not is_alive(pid)


async def test_a_caller_that_tries_again_at_once_does_not_keep_the_worker_from_coming_back() -> None:
    async with supervised() as supervisor:
        with pytest.raises(KafkaUnavailableError):
            await supervisor.call("crash", {}, DEED)

        async def insist() -> object:
            while True:
                try:
                    return await supervisor.call("echo", {"a": 1}, DEED)
                except KafkaUnavailableError:
                    continue

        async with asyncio.timeout(LONG):
            assert await insist() == {"a": 1}


async def test_a_worker_that_never_starts_is_said_to_be_away_and_counted() -> None:
    name = "never-starts"
    async with supervised("exit", replace(PATIENT, ready=1.0), name=name) as supervisor:
        with pytest.raises(KafkaUnavailableError, match="not running"):
            await supervisor.call("echo", {}, DEED)
    assert counted("sidestream_kafka_worker_ends_total", cluster=name, reason="exit code 3") >= 1
    assert counted("sidestream_kafka_requests_total", cluster=name, verb="echo", code="worker_lost") == 1


async def test_a_program_that_does_not_exist_is_said_to_be_away() -> None:
    supervisor = Supervisor(
        Endpoint("main", "kafka:9092"),
        ClientConfig({}),
        command=("no-such-program-of-sidestream",),
        timing=replace(PATIENT, ready=0.2),
    )
    supervisor.start()
    try:
        with pytest.raises(KafkaUnavailableError, match="not running"):
            await supervisor.call("echo", {}, DEED)
    finally:
        await supervisor.aclose()


async def test_a_refused_configuration_fails_every_call_for_good_and_keeps_secrets_to_itself() -> None:
    async with supervised("refuse", secrets=frozenset({"s3cret"})) as supervisor:
        for _ in range(2):
            with pytest.raises(KafkaError, match="KafkaCluster main has bad properties") as caught:
                await supervisor.call("echo", {}, DEED)
            assert "s3cret" not in str(caught.value)
            assert caught.value.code == "_INVALID_ARG"


async def test_a_busy_group_is_named() -> None:
    async with supervised() as supervisor:
        with pytest.raises(GroupBusyError, match=r"fulfilment\.sbx\.alice"):
            await supervisor.call("fail", {"name": "NON_EMPTY_GROUP"}, DEED)


async def test_after_an_unanswered_call_others_fail_at_once_with_the_same_words() -> None:
    async with supervised(timing=replace(PATIENT, rest=LONG)) as supervisor:
        with pytest.raises(KafkaUnavailableError, match="does not answer at kafka:9092") as first:
            await supervisor.call("fail", {"name": "_TIMED_OUT"}, DEED)
        with pytest.raises(KafkaUnavailableError) as second:
            await supervisor.call("echo", {}, DEED)
        assert str(second.value) == str(first.value)


async def test_the_first_call_after_the_rest_finds_out_that_the_cluster_is_back() -> None:
    async with supervised() as supervisor:
        with pytest.raises(KafkaUnavailableError):
            await supervisor.call("fail", {"name": "_TIMED_OUT"}, DEED)
        assert await supervisor.call("served", {}, DEED) == 2
        supervisor._timing = replace(PATIENT, rest=LONG)
        assert await supervisor.call("served", {}, DEED) == 3


async def test_a_refused_call_does_not_keep_others_from_being_made() -> None:
    async with supervised(timing=replace(PATIENT, rest=LONG)) as supervisor:
        with pytest.raises(KafkaError, match="needs Read on group"):
            await supervisor.call("fail", {"name": "GROUP_AUTHORIZATION_FAILED"}, DEED)
        assert await supervisor.call("served", {}, DEED) == 2


async def test_closing_fails_the_calls_in_flight_and_leaves_no_process() -> None:
    async with supervised() as supervisor:
        await supervisor.call("echo", {}, DEED)
        pid = supervisor.pid
        assert pid is not None
        waiting = asyncio.create_task(supervisor.call("hang", {}, DEED))
        await supervisor.call("echo", {}, DEED)
    with pytest.raises(KafkaUnavailableError):
        await waiting
    assert not is_alive(pid)


async def test_closing_while_the_worker_starts_leaves_no_process() -> None:
    before = children()
    async with supervised("silence"):
        async with asyncio.timeout(LONG):
            while children() <= before:  # noqa: ASYNC110 - the process is the supervisor's own affair
                await asyncio.sleep(0.01)
    assert children() <= before


def children() -> set[str]:
    """Process ids of this process's children."""
    tasks = Path("/proc/self/task").iterdir()
    return {pid for task in tasks for pid in (task / "children").read_text().split()}
