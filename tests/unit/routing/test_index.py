"""Which entries a change of anything wakes, and that all else wakes nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from builders import (
    annotated,
    deleting,
    deployment,
    forking,
    generation,
    having,
    in_namespace,
    labelled,
    namespace,
    of_labels,
    of_sandboxes,
    pod,
    ready_replicas,
    route_group,
    routing_key,
    sandbox,
    service,
)
from fakes.kube import FakeKubeApi
from sidestream.api.labels import BASELINE, BASELINE_SERVICE, MANAGED_BY, MANAGED_BY_VALUE, SANDBOX
from sidestream.config import HeaderSettings
from sidestream.kube.port import (
    DEPLOYMENTS,
    NAMESPACES,
    ROUTE_GROUPS,
    SANDBOXES,
    SERVICES,
    VIRTUAL_SERVICES,
    Object,
    Resource,
)
from sidestream.routing.entries import EntryKey, EntryKind
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.ownership import marked
from sidestream.routing.providers.provider import Cluster
from sidestream.routing.providers.virtualservice import VirtualServiceProvider
from unit.routing.plain_provider import (
    GATEWAYS,
    HTTP_ROUTES,
    MIDDLEWARES,
    STOREFRONT,
    PlainProvider,
    gateway,
    http_route,
    mesh_route,
)
from unit.routing.things import ORDERS, fork_deployment, fork_service, to, virtual_service
from unit.routing.world import Mirror

MESH = EntryKey(EntryKind.MESH, "shop", "orders")
WEB = EntryKey(EntryKind.MESH, "shop", "web")
CART = EntryKey(EntryKind.MESH, "shop", "cart")


class Scene:
    """A cluster where alice forks `orders` and nobody forks anything else, and its index."""

    def __init__(self, *objects: Object) -> None:
        self.api = FakeKubeApi(
            namespace(),
            service("orders"),
            service("web"),
            sandbox("alice"),
            fork_service("alice"),
            fork_deployment("alice"),
            *objects,
        )
        self.mirror = Mirror(self.api, (VirtualServiceProvider(HeaderSettings()), PlainProvider(GATEWAYS)))
        self.index = self.mirror.index
        self.mirror.follow()
        self.mirror.woken.clear()

    def woken_by(self, *objects: Object) -> set[EntryKey]:
        for obj in objects:
            self.api.seed(obj)
        return self._woken()

    def woken_without(self, resource: Resource, name: str, namespace: str = "shop") -> set[EntryKey]:
        self.api.remove(resource, name, "" if resource == NAMESPACES else namespace)
        return self._woken()

    def _woken(self) -> set[EntryKey]:
        self.mirror.woken.clear()
        self.mirror.follow()
        return set(self.mirror.woken)


class NeighbourlyProvider(PlainProvider):
    """Routes that say so are merged with those of the storefront."""

    def neighbours_of(self, obj: Object, cluster: Cluster) -> Iterable[EntryKey]:
        del cluster
        return (STOREFRONT,) if "beside" in obj["spec"] else ()


def rows(*services: str, entry: str = "mesh") -> Callable[[Object], None]:
    found = [
        {"service": name, "entry": entry, "provider": "None", "mode": "None", "state": "Programmed", "reason": "x"}
        for name in services
    ]
    return having("status.routes", found)


def ours(key: EntryKey = MESH, name: str = "sidestream-orders", resource: Resource = VIRTUAL_SERVICES) -> Object:
    obj = marked(resource, key, "shop", name, {"hosts": ["orders"], "http": [{"route": [to("orders-alice")]}]})
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": "1"}}


# --- what wakes whom

WAKES: dict[str, tuple[Object, set[EntryKey]]] = {
    "a fork Service": (fork_service("bob"), {MESH}),
    "a fork Service of a Service that nobody forked": (fork_service("alice", "web"), {WEB}),
    "the forked Service itself": (service("orders", having("spec.clusterIP", "None")), {MESH}),
    "a fork that is ready no more": (fork_deployment("alice", ready=0), {MESH}),
    "a Sandbox with another spec": (sandbox("alice", having("spec.suspended", value=True)), {MESH}),
    "a Sandbox that is deleted": (sandbox("alice", deleting()), {MESH}),
    "a Sandbox with another label, which RouteGroups may pick": (sandbox("alice", labelled({"team": "red"})), {MESH}),
    "a Sandbox without a fork but with a row": (sandbox("bob", forking("cart"), rows("cart")), {CART}),
    "a RouteGroup": (route_group(), {MESH}),
    "a user's VirtualService for it": (virtual_service("orders", {"route": [to()]}), {MESH}),
    "a user's VirtualService that leads to it": (virtual_service("x", {"route": [to()]}, hosts=["web"]), {WEB}),
    "a wildcard that covers it": (
        virtual_service("all", {"route": [to()]}, hosts=["*.shop.svc.cluster.local"]),
        {MESH, WEB},
    ),
    "a route at a gateway that leads to it, of which its row tells": (
        http_route("storefront", "orders", "web"),
        {STOREFRONT, MESH},
    ),
    "a route of the mesh for it": (mesh_route("web"), {MESH}),
    "a route of the mesh for another Service that leads to it": (mesh_route("orders", service="web"), {WEB}),
    "a gateway, which may concern anybody": (gateway(), {MESH}),
    "a namespace, to which overlays are exported": (namespace("new"), {MESH}),
    "an object of ours": (ours(), {MESH}),
    "an object of ours of a kind that is only written": (ours(STOREFRONT, "x", MIDDLEWARES), {STOREFRONT}),
}


@pytest.mark.parametrize(("changed", "woken"), WAKES.values(), ids=WAKES)
def test_it_wakes_the_entries_that_it_concerns(changed: Object, woken: set[EntryKey]) -> None:
    assert Scene().woken_by(changed) == woken


GONE: dict[str, tuple[Object, Resource, str, set[EntryKey]]] = {
    "the fork Service": (fork_service("bob"), SERVICES, "orders-bob", {MESH}),
    "the Service": (service("orders"), SERVICES, "orders", {MESH}),
    "the fork": (fork_deployment("alice"), DEPLOYMENTS, "orders-alice", {MESH}),
    "the Sandbox": (sandbox("alice"), SANDBOXES, "alice", {MESH}),
    "the RouteGroup": (route_group(), ROUTE_GROUPS, "release-42", {MESH}),
    "a namespace": (namespace("new"), NAMESPACES, "new", {MESH}),
    "a user's VirtualService": (virtual_service("u", {"route": [to()]}), VIRTUAL_SERVICES, "u", {MESH}),
    "a route at a gateway that nobody has looked at": (http_route(), HTTP_ROUTES, "storefront", {MESH}),
    "a gateway": (gateway(), GATEWAYS, "edge", {MESH}),
    "an object of ours": (ours(), VIRTUAL_SERVICES, "sidestream-orders", {MESH}),
    "an object of ours of a kind that is only written": (ours(MESH, "m", MIDDLEWARES), MIDDLEWARES, "m", {MESH}),
}


@pytest.mark.parametrize(("there", "resource", "name", "woken"), GONE.values(), ids=GONE)
def test_so_does_its_end(there: Object, resource: Resource, name: str, woken: set[EntryKey]) -> None:
    assert Scene(there).woken_without(resource, name) == woken


NOBODY: dict[str, tuple[tuple[Object, ...], Object]] = {
    "a Service that nobody forks": ((), service("web", having("spec.clusterIP", "None"))),
    "a new Service": ((), service("cart")),
    "a Service of that name in another namespace": ((), service("orders", in_namespace("web"))),
    "a fork that stays as ready as it was": ((), fork_deployment("alice", ready=3)),
    "a Deployment of a user with labels like a fork's": (
        (),
        deployment("mine", labelled({SANDBOX: "alice", BASELINE: "orders"}), ready_replicas(0)),
    ),
    "a Deployment of a user": ((), deployment("orders", ready_replicas(0))),
    "a Sandbox whose status changes": ((), sandbox("alice", having("status.observedGeneration", 1))),
    "a Sandbox whose rows we have written": ((sandbox("alice", rows("orders")),), sandbox("alice", rows())),
    "a Sandbox without a fork so far": ((), sandbox("bob")),
    "a VirtualService for a Service that nobody forks": (
        (),
        virtual_service("w", {"route": [to("web")]}, hosts=["web"]),
    ),
    "a route at a gateway that leads elsewhere": ((), http_route("storefront", "web")),
    "a route of the mesh for a Service that nobody forks": ((), mesh_route("web", service="web")),
    "a namespace that changes": ((), namespace("shop", labelled({"team": "red"}))),
    "a user's object of a kind that is only written": (
        (),
        gateway() | {"apiVersion": "traefik.io/v1alpha1", "kind": "Middleware"},
    ),
    "a RouteGroup of another namespace": ((), route_group("release-42", in_namespace("web"))),
    "a kind that has nothing to do with routes": ((), pod("orders-1")),
    "a Service that only looks like a fork's": (
        (),
        service("x", labelled({BASELINE_SERVICE: "orders", SANDBOX: "bob"})),
    ),
}


@pytest.mark.parametrize(("there", "changed"), NOBODY.values(), ids=NOBODY)
def test_it_wakes_nobody(there: tuple[Object, ...], changed: Object) -> None:
    assert Scene(*there).woken_by(changed) == set()


def test_a_route_that_leads_away_wakes_the_entry_for_the_last_time() -> None:
    scene = Scene(http_route("storefront", "orders"), ours(STOREFRONT, "sidestream-storefront-alice", HTTP_ROUTES))
    assert scene.woken_by(http_route("storefront", "web")) == {STOREFRONT, MESH}
    assert scene.woken_without(HTTP_ROUTES, "sidestream-storefront-alice") == {STOREFRONT}
    assert scene.woken_by(http_route("storefront", "cart")) == set()


def test_a_fork_wakes_every_entry_that_leads_to_its_service() -> None:
    scene = Scene(http_route("storefront", "orders", "web"), mesh_route("orders", service="web"))
    assert scene.woken_by(fork_deployment("alice", ready=0)) == {MESH, STOREFRONT, WEB}
    assert scene.woken_by(fork_service("bob", "web")) == {STOREFRONT, WEB}
    assert scene.woken_by(route_group()) == {MESH, STOREFRONT, WEB}


def test_a_fork_wakes_only_the_entries_of_its_own_deployments_services() -> None:
    scene = Scene(fork_service("alice", "web"), fork_deployment("alice", "web"))
    assert scene.woken_by(fork_deployment("alice", "web", ready=0)) == {WEB}
    assert scene.woken_by(sandbox("alice", generation(2), forking("orders"))) == {MESH, WEB}


def test_a_fork_service_that_stands_for_another_service_wakes_both() -> None:
    moved = fork_service("alice")
    moved["metadata"]["labels"][BASELINE_SERVICE] = "web"
    assert Scene().woken_by(moved) == {MESH, WEB}


def test_a_service_that_becomes_a_fork_service_and_back_is_known_as_what_it_is() -> None:
    scene = Scene()
    scene.woken_by(service("orders-alice", labelled({MANAGED_BY: "somebody"})))
    assert scene.index.forks_of(ORDERS) == []
    assert scene.woken_by(fork_service("alice")) == {MESH}
    assert [item["metadata"]["name"] for item in scene.index.forks_of(ORDERS)] == ["orders-alice"]


def test_a_wildcards_end_wakes_a_service_that_came_after_it() -> None:
    scene = Scene(virtual_service("all", {"route": [to("else")]}, hosts=["*.shop.svc.cluster.local"]))
    scene.woken_by(service("late"), fork_service("alice", "late"))
    late = EntryKey(EntryKind.MESH, "shop", "late")
    assert late in scene.woken_without(VIRTUAL_SERVICES, "all")


# --- what it knows


def test_objects_of_ours_are_found_by_their_entry_until_they_are_gone() -> None:
    scene = Scene(ours(), ours(STOREFRONT, "sidestream-storefront-alice", HTTP_ROUTES), ours(MESH, "m", MIDDLEWARES))
    found = scene.index.written(MESH)
    assert sorted((item[0].kind, item[1]["metadata"]["name"]) for item in found) == [
        ("Middleware", "m"),
        ("VirtualService", "sidestream-orders"),
    ]
    assert [item["metadata"]["name"] for _, item in scene.index.written(STOREFRONT)] == ["sidestream-storefront-alice"]
    scene.woken_without(VIRTUAL_SERVICES, "sidestream-orders")
    scene.woken_without(MIDDLEWARES, "m")
    assert scene.index.written(MESH) == []


def test_an_object_of_ours_from_before_there_were_entries_is_its_services() -> None:
    former = virtual_service("sidestream-orders")
    former["metadata"]["labels"] = {MANAGED_BY: MANAGED_BY_VALUE, BASELINE_SERVICE: "orders"}
    scene = Scene(former)
    assert [item["metadata"]["name"] for _, item in scene.index.written(MESH)] == ["sidestream-orders"]


def test_the_gateways_from_which_requests_come_to_a_service() -> None:
    scene = Scene(http_route("storefront", "orders"), http_route("admin", "web"), mesh_route("orders"))
    assert scene.index.gateways_to(ORDERS) == {STOREFRONT}
    scene.woken_by(http_route("storefront", "web"))
    assert scene.index.gateways_to(ORDERS) == frozenset()


def test_all_entries_are_those_with_a_fork_a_row_or_an_object_of_ours() -> None:
    scene = Scene(
        http_route("storefront", "orders"),
        http_route("admin", "web"),
        sandbox("bob", forking("cart"), rows("cart"), rows("cart", entry="HTTPRoute web/shop")),
        ours(EntryKey(EntryKind.GRPC_ROUTE, "web", "api"), "sidestream-api", HTTP_ROUTES),
    )
    assert scene.index.all_entries() == {
        MESH,
        STOREFRONT,
        EntryKey(EntryKind.HTTP_ROUTE, "web", "shop"),
        EntryKey(EntryKind.GRPC_ROUTE, "web", "api"),
    }


def test_sandboxes_with_rows_are_found_by_the_entry_until_the_row_is_gone() -> None:
    scene = Scene(sandbox("bob", forking("cart"), rows("cart")))
    assert [item.sandbox.metadata.name for item in scene.index.with_rows(CART)] == ["bob"]
    scene.woken_by(sandbox("bob", forking("cart"), rows()))
    assert scene.index.with_rows(CART) == []
    assert CART not in scene.index.all_entries()


def test_a_row_without_an_entry_is_the_meshs() -> None:
    scene = Scene(sandbox("bob", forking("cart"), having("status.routes", [_row_of_old("cart")])))
    assert [item.sandbox.metadata.name for item in scene.index.with_rows(CART)] == ["bob"]


def _row_of_old(name: str) -> Object:
    return {"service": name, "provider": "None", "mode": "None", "state": "Pending", "reason": "x"}


def test_who_answers_to_a_key_follows_sandboxes_and_groups() -> None:
    scene = Scene(route_group("release", of_labels({"team": "red"})))
    assert scene.index.tenancy("shop").keys_of("alice", "orders") == ("alice",)
    scene.woken_by(sandbox("alice", labelled({"team": "red"})))
    assert scene.index.tenancy("shop").keys_of("alice", "orders") == ("alice", "release")
    scene.woken_by(route_group("release", of_sandboxes("bob")))
    assert scene.index.tenancy("shop").keys_of("alice", "orders") == ("alice",)
    scene.woken_by(sandbox("alice", routing_key("red"), generation(2)))
    assert scene.index.tenancy("shop").keys_of("alice", "orders") == ("red",)
    scene.woken_without(SANDBOXES, "alice")
    assert scene.index.tenancy("shop").keys_of("alice", "orders") == ()


def test_who_answers_to_a_key_is_worked_out_once_per_change() -> None:
    scene = Scene()
    known = scene.index.tenancy("shop")
    scene.woken_by(sandbox("alice", having("status.observedGeneration", 1)), service("web", annotated({"a": "b"})))
    assert scene.index.tenancy("shop") is known


def test_a_sandbox_that_cannot_be_read_is_left_out_until_it_can_be() -> None:
    scene = Scene()
    assert scene.woken_by(sandbox("alice", having("spec.workloads", "nonsense"))) == {MESH}
    assert scene.index.sandbox("shop", "alice") is None
    assert scene.woken_by(sandbox("alice")) == {MESH}
    assert scene.index.sandbox("shop", "alice") is not None


def test_a_fork_is_found_by_its_labels_whatever_its_name() -> None:
    scene = Scene()
    (fork,) = scene.index.forks_of(ORDERS)
    found = scene.index.fork_deployment(fork)
    assert found is not None
    assert found["metadata"]["name"] == "orders-alice"
    scene.woken_without(DEPLOYMENTS, "orders-alice")
    assert scene.index.fork_deployment(fork) is None


def test_what_users_objects_say_is_read_again_once_everything_is_known() -> None:
    """A wildcard that came before the Services that it covers."""
    api = FakeKubeApi(namespace(), virtual_service("all", {"route": [to()]}, hosts=["*.shop.svc.cluster.local"]))
    mirror = Mirror(api, (VirtualServiceProvider(HeaderSettings()),))
    mirror.follow()
    for obj in (service("web"), service("orders"), fork_service("alice")):
        api.seed(obj)
    mirror.follow()
    assert mirror.index.all_entries() == {MESH}
    mirror.index.refresh()
    assert mirror.index.all_entries() == {MESH, WEB}


def test_a_gateways_route_that_ends_wakes_its_entry_where_something_is_left_of_it() -> None:
    row = rows("orders", entry="HTTPRoute shop/storefront")
    scene = Scene(http_route("storefront", "orders"), sandbox("alice", row))
    assert scene.woken_without(HTTP_ROUTES, "storefront") == {STOREFRONT, MESH}


def test_a_gateways_route_that_changes_otherwise_wakes_its_own_entry_alone() -> None:
    scene = Scene(http_route("storefront", "orders"))
    assert scene.woken_by(http_route("storefront", "orders", timeout="3s")) == {STOREFRONT}


def test_a_route_wakes_its_neighbours_and_once_more_when_it_leaves_them() -> None:
    scene = Scene(http_route("storefront", "orders"))
    scene.mirror = Mirror(scene.api, (NeighbourlyProvider(),))
    scene.mirror.follow()
    assert scene.woken_by(http_route("other", "web", beside="it")) == {STOREFRONT}
    assert scene.woken_by(http_route("other", "web")) == {STOREFRONT}
    assert scene.woken_by(http_route("other", "cart")) == set()
    assert scene.mirror.index.gateways_to(ServiceHost("shop", "web")) == set()
