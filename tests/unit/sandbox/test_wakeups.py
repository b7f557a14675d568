from __future__ import annotations

from typing import Any

import pytest

from builders import deployment, forking, generation, having, kafka_consumer, labelled, pod, sandbox, service
from sidestream.api.labels import SANDBOX
from sidestream.sandbox.wakeups import SandboxWakeups


@pytest.fixture
def wakeups() -> SandboxWakeups:
    """Alice forks orders and fulfilment, bob forks orders."""
    found = SandboxWakeups()
    found.of_sandbox(sandbox("alice", forking("orders", "fulfilment")))
    found.of_sandbox(sandbox("bob", forking("orders")))
    return found


def names(keys: Any) -> list[str]:
    return sorted(key.name for key in keys)


def test_a_sandbox_wakes_itself_and_those_that_want_what_it_wants_or_wanted(wakeups: SandboxWakeups) -> None:
    assert names(wakeups.of_sandbox(sandbox("alice", forking("fulfilment")))) == ["alice", "bob"]
    assert names(wakeups.of_sandbox(sandbox("alice", forking("fulfilment")))) == ["alice"]
    assert names(wakeups.of_sandbox(sandbox("bob", forking("fulfilment")), gone=True)) == ["alice", "bob"]
    assert names(wakeups.all_keys()) == ["alice"]


def test_an_object_of_ours_wakes_its_sandbox(wakeups: SandboxWakeups) -> None:
    ours = labelled({SANDBOX: "carol"})
    assert names(wakeups.of_owned(pod("p", ours))) == ["carol"]
    assert names(wakeups.of_deployment(deployment("orders-carol", ours))) == ["carol"]
    assert names(wakeups.of_namespace(service("orders-carol", ours))) == ["carol"]
    assert names(wakeups.of_owned(pod("p"))) == []


def test_a_baseline_wakes_those_that_fork_it_once_per_generation(wakeups: SandboxWakeups) -> None:
    assert names(wakeups.of_deployment(deployment("orders"))) == ["alice", "bob"]
    assert names(wakeups.of_deployment(deployment("orders", having("status.readyReplicas", 0)))) == []
    assert names(wakeups.of_deployment(deployment("orders", generation(2)))) == ["alice", "bob"]
    assert names(wakeups.of_deployment(deployment("orders", generation(2)), gone=True)) == ["alice", "bob"]
    assert names(wakeups.of_deployment(deployment("other"))) == []


def test_a_users_service_wakes_all_of_its_namespace(wakeups: SandboxWakeups) -> None:
    assert names(wakeups.of_namespace(service())) == ["alice", "bob"]
    assert names(wakeups.of_namespace(service("orders", having("metadata.namespace", "other")))) == []


def test_a_consumer_wakes_those_that_fork_its_deployment(wakeups: SandboxWakeups) -> None:
    assert names(wakeups.of_consumer(kafka_consumer())) == ["alice"]
