"""From events to the Services whose routes they concern."""

from __future__ import annotations

import pytest

from builders import deployment, finalized, generation, having, sandbox, service
from sidestream.api.labels import BASELINE_SERVICE, MANAGED_BY, MANAGED_BY_VALUE
from sidestream.kube.port import Object
from sidestream.routing.wakeups import RoutingWakeups
from sidestream.runtime.reconcile import ObjectKey
from unit.routing.things import ORDERS_FQDN, fork_deployment, fork_service, to, virtual_service

ORDERS = ObjectKey("shop", "orders")


@pytest.fixture
def wakeups() -> RoutingWakeups:
    """Has seen that Alice forks `orders`."""
    seen = RoutingWakeups()
    seen.of_service(fork_service("alice"))
    return seen


def routed(*services: str) -> Object:
    return sandbox("alice", having("status.routes", [{"service": name} for name in services]))


def ours() -> Object:
    obj = virtual_service("sidestream-orders", {"route": [to()]})
    obj["metadata"]["labels"] = {MANAGED_BY: MANAGED_BY_VALUE, BASELINE_SERVICE: "orders"}
    return obj


def test_a_fork_service_wakes_its_baseline() -> None:
    wakeups = RoutingWakeups()
    assert wakeups.of_service(fork_service("alice")) == {ORDERS}
    assert wakeups.all_keys() == {ORDERS}
    assert wakeups.of_service(fork_service("alice"), gone=True) == {ORDERS}
    assert wakeups.all_keys() == set()


def test_a_fork_service_that_is_withdrawn_wakes_what_it_stood_for(wakeups: RoutingWakeups) -> None:
    withdrawn = fork_service("alice")
    del withdrawn["metadata"]["labels"][BASELINE_SERVICE]
    assert wakeups.of_service(withdrawn) == {ORDERS}
    assert wakeups.of_service(withdrawn) == set()


def test_a_service_wakes_itself_only_when_it_is_forked(wakeups: RoutingWakeups) -> None:
    assert wakeups.of_service(service("orders")) == {ORDERS}
    assert wakeups.of_service(service("inventory")) == set()


def test_a_fork_deployment_wakes_the_services_before_it(wakeups: RoutingWakeups) -> None:
    assert wakeups.of_deployment(fork_deployment("alice")) == {ORDERS}
    assert wakeups.of_deployment(fork_deployment("bob")) == set()
    assert wakeups.of_deployment(deployment("orders")) == set()


def test_a_sandbox_wakes_what_it_forks_and_what_it_has_entries_about(wakeups: RoutingWakeups) -> None:
    assert wakeups.of_sandbox(routed("billing")) == {ORDERS, ObjectKey("shop", "billing")}


def test_a_sandbox_wakes_once_per_generation_and_again_for_its_deletion(wakeups: RoutingWakeups) -> None:
    assert wakeups.of_sandbox(routed("orders")) == {ORDERS}
    assert wakeups.of_sandbox(routed("orders")) == set()
    newer = routed("orders")
    generation(2)(newer)
    assert wakeups.of_sandbox(newer) == {ORDERS}
    finalized("x")(newer)
    newer["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert wakeups.of_sandbox(newer) == {ORDERS}
    assert wakeups.of_sandbox(newer, gone=True) == {ORDERS}


def test_our_own_virtual_service_wakes_its_service_even_if_nobody_forks_it() -> None:
    wakeups = RoutingWakeups()
    assert wakeups.of_virtual_service(ours()) == {ORDERS}
    assert wakeups.all_keys() == {ORDERS}
    assert wakeups.of_virtual_service(ours(), gone=True) == {ORDERS}
    assert wakeups.all_keys() == set()


@pytest.mark.parametrize("host", ["orders", "orders.shop", ORDERS_FQDN, "*.shop.svc.cluster.local"])
def test_a_users_virtual_service_wakes_the_forked_services_it_names(wakeups: RoutingWakeups, host: str) -> None:
    assert wakeups.of_virtual_service(virtual_service("mine", hosts=["inventory", host])) == {ORDERS}


def test_a_users_virtual_service_wakes_nobody_else(wakeups: RoutingWakeups) -> None:
    assert wakeups.of_virtual_service(virtual_service("mine", hosts=["inventory"])) == set()
    assert RoutingWakeups().of_virtual_service(virtual_service("mine")) == set()


def test_a_host_that_is_taken_off_wakes_once_more(wakeups: RoutingWakeups) -> None:
    wakeups.of_virtual_service(virtual_service("mine", hosts=["orders"]))
    assert wakeups.of_virtual_service(virtual_service("mine", hosts=["inventory"])) == {ORDERS}
    assert wakeups.of_virtual_service(virtual_service("mine", hosts=["inventory"])) == set()


def test_a_users_virtual_service_that_goes_wakes_what_it_named(wakeups: RoutingWakeups) -> None:
    assert wakeups.of_virtual_service(virtual_service("mine", hosts=["orders"]), gone=True) == {ORDERS}
