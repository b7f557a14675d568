"""Under constant load, while Sandboxes come and go, every request goes where it belongs, whatever carries routes."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from e2e.load import WAYS, Answer, Life, Stream, begin, constant_load, faults, furnish, live
from e2e.place import Place
from sidestream.api.labels import PROVIDER
from sidestream.kube.port import DEPLOYMENTS, SANDBOXES, VIRTUAL_SERVICES, Object
from sidestream_demo.process import wait_until

CYCLES = int(os.environ.get("SIDESTREAM_LOAD_CYCLES", "5"))
"""Lives of each of the tenants."""
TENANTS = ("ann", "ben", "cat")
OWNED, OVERLAID, BY_ROUTE = "web-owned", "web-overlaid", "web-by-route"
"""Services without and with a user's VirtualService, and one that is routed by HTTPRoutes."""
SERVICES = (OWNED, OVERLAID, BY_ROUTE)
ANNOTATIONS = {OWNED: {PROVIDER: "VirtualService"}, OVERLAID: {}, BY_ROUTE: {PROVIDER: "HTTPRoute"}}
SECONDS_READY = 2.0
EDIT_SECONDS = 15.0
"""The promise is two; a machine that runs all of this beside other tests may take longer."""


def users_route(place: Place, timeout: str = "30s") -> Object:
    host = f"{OVERLAID}.{place.namespace}.svc.cluster.local"
    rules = [
        {"match": [{"uri": {"prefix": "/slow"}}], "timeout": timeout, "route": [{"destination": {"host": host}}]},
        {"route": [{"destination": {"host": host}}]},
    ]
    return {
        "apiVersion": VIRTUAL_SERVICES.api_version,
        "kind": VIRTUAL_SERVICES.kind,
        "metadata": {"name": "users", "namespace": place.namespace},
        "spec": {"hosts": [host], "http": rules},
    }


def settle(place: Place, image: str) -> None:
    place.cluster.apply(VIRTUAL_SERVICES, users_route(place))
    furnish(place, image, ANNOTATIONS)


def streams(*tenants: str) -> list[Stream]:
    return [Stream(service, way, tenant) for service in SERVICES for way in WAYS for tenant in ("", *tenants)]


def told(found: list[Answer]) -> str:
    """The kinds of faults, for whoever reads a failure."""
    kinds = Counter((item.stream.service, item.stream.way, item.stream.tenant or "nobody", item.who) for item in found)
    return "\n".join(f"{count} x {kind}" for kind, count in kinds.most_common(20))


def is_within(answer: Answer, life: Life) -> bool:
    return answer.stream.tenant == life.tenant and life.ready <= answer.begin and answer.end <= life.leaves


def test_every_request_goes_where_it_belongs_while_tenants_come_and_go(place: Place, images: dict[str, str]) -> None:
    settle(place, images["operator"])

    def lives_of(tenant: str) -> list[Life]:
        return [live(place, tenant, SECONDS_READY) for _ in range(CYCLES)]

    with constant_load(place, streams(*TENANTS)) as load, ThreadPoolExecutor(len(TENANTS)) as pool:
        lives = [life for found in pool.map(lives_of, TENANTS) for life in found]

    found = faults(load.answers, lives)
    assert found == [], told(found)
    by_forks = Counter((item.stream.service, item.stream.way) for item in load.answers if item.who in TENANTS)
    assert set(by_forks) == {(service, way) for service in SERVICES for way in WAYS}, "each way was tried"
    assert len(lives) == CYCLES * len(TENANTS)
    ready = [item for item in load.answers if any(is_within(item, life) for life in lives)]
    print(f"{len(load.answers)} requests, {len(ready)} of tenants that were Ready")  # noqa: T201 - for who measures


def fork_first(place: Place) -> None:
    """The wrong order of deletion: the fork goes while its route still leads to it."""
    place.cluster.delete(DEPLOYMENTS, place.namespace, "web-ann", grace=0)


def everybody_to_the_fork(place: Place) -> None:
    """A rule that holds for nobody's requests, too; sidecars prefer it as it names its namespace."""
    route = {"route": [{"destination": {"host": "web-owned-ann"}}]}
    virtual_service = {
        "apiVersion": VIRTUAL_SERVICES.api_version,
        "kind": VIRTUAL_SERVICES.kind,
        "metadata": {"name": "a-harm", "namespace": place.namespace},
        "spec": {"hosts": [OWNED], "exportTo": ["."], "http": [route]},
    }
    place.cluster.apply(VIRTUAL_SERVICES, virtual_service)


@pytest.mark.parametrize("harm", [fork_first, everybody_to_the_fork])
def test_the_load_sees_what_must_not_be(place: Place, images: dict[str, str], harm: Callable[[Place], None]) -> None:
    settle(place, images["operator"])
    with constant_load(place, streams("ann")) as load:
        life = begin(place, "ann")
        for _ in range(5):
            harm(place)
            time.sleep(0.5)
    assert faults(load.answers, [life]) != []


def test_a_users_edit_is_in_the_overlay_soon(place: Place, images: dict[str, str]) -> None:
    settle(place, images["operator"])
    place.sandbox("ann", "web")
    place.ready("ann")
    (row,) = [
        item
        for item in place.cluster.read(SANDBOXES, place.namespace, "ann")["status"]["routes"]
        if item["service"] == OVERLAID
    ]
    assert row["mode"] == "Overlay"
    since = time.monotonic()
    place.cluster.apply(VIRTUAL_SERVICES, users_route(place, timeout="17s"))

    def timeouts() -> set[str]:
        overlay = place.cluster.read(VIRTUAL_SERVICES, place.namespace, row["object"])
        return {rule["timeout"] for rule in overlay["spec"]["http"] if "timeout" in rule}

    wait_until(lambda: timeouts() == {"17s"}, EDIT_SECONDS, "the overlay to have the user's edit", every=0.05)
    print(f"the overlay has a user's edit after {time.monotonic() - since:.2f} s")  # noqa: T201 - for who measures
