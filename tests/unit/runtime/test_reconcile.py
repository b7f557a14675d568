from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import structlog

from builders import FakeClock, settle
from sidestream.errors import (
    ConflictError,
    InvalidInputError,
    KubeError,
    TransientError,
)
from sidestream.runtime.metrics import REGISTRY
from sidestream.runtime.queue import WorkQueue
from sidestream.runtime.reconcile import ObjectKey, Outcome, reconcile_once, run_reconciler

ALICE = ObjectKey("shop", "alice")
BOB = ObjectKey("shop", "bob")


class Scripted:
    """A reconciler that does what it is told and remembers what it was asked."""

    def __init__(self, act: Callable[[ObjectKey], Outcome] = lambda _: Outcome(), name: str = "scripted") -> None:
        self.name = name
        self.seen: list[ObjectKey] = []
        self.act = act

    async def reconcile(self, key: ObjectKey) -> Outcome:
        self.seen.append(key)
        return self.act(key)


def failing(error: Exception) -> Callable[[ObjectKey], Outcome]:
    def act(_key: ObjectKey) -> Outcome:
        raise error

    return act


def answering(outcome: Outcome) -> Callable[[ObjectKey], Outcome]:
    return lambda _key: outcome


def queue_of(clock: FakeClock) -> WorkQueue[ObjectKey]:
    return WorkQueue("reconcile", clock, chance=lambda: 0.0)


async def test_keys_are_worked_off_until_cancelled() -> None:
    clock = FakeClock()
    queue, reconciler = queue_of(clock), Scripted()
    running = asyncio.create_task(run_reconciler(queue, reconciler, clock))
    queue.add(ALICE)
    queue.add(BOB)
    await settle()
    assert reconciler.seen == [ALICE, BOB]
    running.cancel()
    await asyncio.wait({running})
    assert running.cancelled()


async def test_a_reconciler_is_called_again_when_it_asks_for_it() -> None:
    clock = FakeClock()
    queue = queue_of(clock)
    reconciler = Scripted(lambda _: Outcome(requeue_after=30))
    running = asyncio.create_task(run_reconciler(queue, reconciler, clock))
    queue.add(ALICE)
    await clock.advance(29)
    assert len(reconciler.seen) == 1
    await clock.advance(1)
    assert len(reconciler.seen) == 2
    running.cancel()
    await asyncio.wait({running})


async def test_one_failing_key_holds_up_no_other() -> None:
    clock = FakeClock()
    queue = queue_of(clock)

    def act(key: ObjectKey) -> Outcome:
        if key == ALICE:
            raise TransientError("away")
        return Outcome()

    reconciler = Scripted(act)
    running = asyncio.create_task(run_reconciler(queue, reconciler, clock, workers=1))
    queue.add(ALICE)
    queue.add(BOB)
    await settle()
    assert reconciler.seen == [ALICE, BOB]
    await clock.advance(0.25)
    assert reconciler.seen == [ALICE, BOB, ALICE]
    running.cancel()
    await asyncio.wait({running})


async def test_workers_work_side_by_side_but_never_on_one_key() -> None:
    clock = FakeClock()
    queue = queue_of(clock)
    busy: list[ObjectKey] = []
    together: list[int] = []
    gate = asyncio.Event()

    class Slow:
        name = "slow"

        async def reconcile(self, key: ObjectKey) -> Outcome:
            assert key not in busy
            busy.append(key)
            together.append(len(busy))
            await gate.wait()
            busy.remove(key)
            return Outcome()

    running = asyncio.create_task(run_reconciler(queue, Slow(), clock, workers=4))
    for key in (ALICE, BOB, ALICE):
        queue.add(key)
    await settle()
    queue.add(ALICE)
    await settle()
    assert max(together) == 2
    gate.set()
    await settle()
    assert len(together) == 3
    assert max(together) == 2
    running.cancel()
    await asyncio.wait({running})


@pytest.mark.parametrize(
    ("case", "error", "outcome", "level", "wait"),
    [
        ("somebody else wrote meanwhile", ConflictError("409"), "conflict", None, 0.0),
        ("the API server is away", TransientError("away"), "transient", "warning", 0.25),
        ("the API server asks for a wait", TransientError("busy", retry_after=9), "transient", "warning", 9.0),
        ("the API server refuses for good", KubeError("forbidden", status=403), "refused", "error", 0.25),
        ("an input error escaped", InvalidInputError("PatchFailed", "bad"), "bug", "error", 0.25),
        ("a bug", ZeroDivisionError(), "bug", "error", 0.25),
    ],
)
async def test_errors_are_decided_here(
    case: str, error: Exception, outcome: str, level: str | None, wait: float
) -> None:
    clock = FakeClock()
    queue = queue_of(clock)
    labels = {"reconciler": case, "outcome": outcome}
    with structlog.testing.capture_logs() as logs:
        assert await reconcile_once(queue, Scripted(failing(error), name=case), ALICE, clock) is None
    assert [entry["log_level"] for entry in logs] == ([level] if level else [])
    assert all(entry.get("exc_info") for entry in logs) == (outcome in ("bug", "conflict"))
    assert REGISTRY.get_sample_value("sidestream_reconciles_total", labels) == 1
    due = queue._due.get(ALICE, 0.0)
    assert due == wait


async def test_success_ends_the_back_off() -> None:
    clock = FakeClock()
    queue = queue_of(clock)
    await reconcile_once(queue, Scripted(failing(TransientError("away"))), ALICE, clock)
    await reconcile_once(queue, Scripted(), ALICE, clock)
    assert queue.retry(ALICE) == 0.25


async def test_a_stuck_reconcile_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidestream.runtime.reconcile.DEADLINE_SECONDS", 0.01)
    clock = FakeClock()
    queue = queue_of(clock)

    class Stuck:
        name = "stuck"

        async def reconcile(self, key: ObjectKey) -> Outcome:
            await asyncio.Event().wait()
            raise AssertionError(key)

    assert await reconcile_once(queue, Stuck(), ALICE, clock) is None
    assert queue._due[ALICE] == 0.25


async def test_metrics_tell_what_changed() -> None:
    clock = FakeClock()
    queue = queue_of(clock)
    for outcome in (Outcome(changed=True), Outcome(), Outcome()):
        await reconcile_once(queue, Scripted(answering(outcome), name="counted"), ALICE, clock)
    values = {
        outcome: REGISTRY.get_sample_value("sidestream_reconciles_total", {"reconciler": "counted", "outcome": outcome})
        for outcome in ("changed", "unchanged")
    }
    assert values == {"changed": 1, "unchanged": 2}
    assert REGISTRY.get_sample_value("sidestream_reconcile_seconds_count", {"reconciler": "counted"}) == 3


def test_a_key_reads_as_users_write_it() -> None:
    assert str(ALICE) == "shop/alice"
    assert str(ObjectKey("", "main")) == "main"
