"""What users may write, told by a real API server: good objects pass, bad ones are refused with the field's name."""

from __future__ import annotations

from typing import Any

import pytest

from builders import (
    Modifier,
    having,
    kafka_cluster,
    kafka_consumer,
    kafka_route,
    of_labels,
    of_sandboxes,
    route_group,
    routing_key,
    sandbox,
    ttl,
    without,
)
from flow.cluster import quiet, unique
from sidestream.errors import ObjectRejectedError
from sidestream.kube.client import AioKubeApi, connect
from sidestream.kube.port import (
    KAFKA_CLUSTERS,
    KAFKA_CONSUMERS,
    KAFKA_ROUTES,
    ROUTE_GROUPS,
    SANDBOXES,
    Object,
    Resource,
)

pytestmark = pytest.mark.usefixtures("quiet_crds")

KINDS = (SANDBOXES, ROUTE_GROUPS, KAFKA_CLUSTERS, KAFKA_CONSUMERS, KAFKA_ROUTES)
RESOURCES = {resource.kind: quiet(resource) for resource in KINDS}
MAKERS = {
    "Sandbox": sandbox,
    "RouteGroup": route_group,
    "KafkaCluster": kafka_cluster,
    "KafkaConsumer": kafka_consumer,
    "KafkaRoute": kafka_route,
}
SERVERS_OWN = ("uid", "resourceVersion", "generation", "creationTimestamp")


def written(kind: str, namespace: str, *modifiers: Modifier, name: str = "alice") -> tuple[Resource, Object]:
    """An object as a user writes it."""
    obj = MAKERS[kind](name, *modifiers)
    obj["apiVersion"] = RESOURCES[kind].api_version
    obj["metadata"] = {key: value for key, value in obj["metadata"].items() if key not in SERVERS_OWN}
    if RESOURCES[kind].namespaced:
        obj["metadata"]["namespace"] = namespace
    else:
        obj["metadata"]["name"] = unique(obj["metadata"]["name"])
    return RESOURCES[kind], obj


async def remove(api: AioKubeApi, resource: Resource, obj: Object) -> None:
    await api.delete(resource, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])


def workload(**fields: Any) -> Modifier:
    return having("spec.workloads", [{"deployment": "orders", **fields}])


def selecting_by(*expressions: Object) -> Modifier:
    return having("spec.sandboxes", {"selector": {"matchExpressions": list(expressions)}})


def previewing(gateway: dict[str, str], **more: str) -> Modifier:
    return having("spec.preview", {"gateway": gateway, "host": "alice.preview.example.com", **more})


NAMED = [{"name": "app", "image": "a:1"}, {"name": "sidecar", "image": "b:1"}]
UNNAMED = [{"image": "a:1"}, {"name": "sidecar", "image": "b:1"}]

GOOD: list[tuple[str, str, tuple[Modifier, ...]]] = [
    ("the smallest Sandbox", "Sandbox", (workload(),)),
    ("a routing key of its own", "Sandbox", (routing_key("a" * 40),)),
    ("a name that is no key, with a key", "Sandbox", (having("metadata.name", "alice.laptop"), routing_key("alice"))),
    ("one container without a name", "Sandbox", (workload(containers=[{"image": "a:1"}]),)),
    ("several containers with names", "Sandbox", (workload(containers=NAMED),)),
    ("a strategic patch", "Sandbox", (workload(patch={"value": {"spec": {"paused": True}}}),)),
    ("a JSON patch", "Sandbox", (workload(patch={"type": "JSON", "value": [{"op": "remove", "path": "/x"}]}),)),
    (
        "an environment from a Secret",
        "Sandbox",
        (workload(containers=[{"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}]),),
    ),
    ("a lifetime", "Sandbox", (ttl("3d12h"),)),
    ("no replicas", "Sandbox", (workload(replicas=0),)),
    ("a preview", "Sandbox", (previewing({"name": "public"}),)),
    (
        "a preview of a host, at another namespace's Gateway",
        "Sandbox",
        (previewing({"kind": "IstioGateway", "namespace": "infra", "name": "main"}, of="shop.example.com"),),
    ),
    ("a preview at Traefik", "Sandbox", (previewing({"kind": "Traefik", "name": "websecure"}),)),
    ("a RouteGroup by names", "RouteGroup", ()),
    ("a RouteGroup of 64 names", "RouteGroup", (of_sandboxes(*(f"s{n}" for n in range(64))),)),
    ("a RouteGroup by labels", "RouteGroup", (of_labels({"release": "42"}),)),
    ("a RouteGroup of all Sandboxes", "RouteGroup", (having("spec.sandboxes", {"selector": {}}),)),
    (
        "a RouteGroup by expressions",
        "RouteGroup",
        (
            selecting_by(
                {"key": "release", "operator": "In", "values": ["42"]}, {"key": "broken", "operator": "DoesNotExist"}
            ),
        ),
    ),
    ("an ordinary KafkaCluster", "KafkaCluster", ()),
    (
        "a KafkaCluster with properties",
        "KafkaCluster",
        (
            having("spec.properties", {"security.protocol": "SASL_SSL"}),
            having("spec.propertiesFrom", [{"secret": "a"}, {"secret": "b"}]),
            having("spec.groupName", "{namespace}.{group}.{sandbox}"),
        ),
    ),
    ("an ordinary KafkaConsumer", "KafkaConsumer", ()),
    ("a KafkaConsumer by its defaults", "KafkaConsumer", (without("spec.coordination"), without("spec.pollInterval"))),
    ("an ordinary KafkaRoute", "KafkaRoute", ()),
]

BAD: list[tuple[str, str, tuple[Modifier, ...], str]] = [
    ("no workloads", "Sandbox", (having("spec.workloads", []),), "spec.workloads"),
    ("no spec", "Sandbox", (without("spec"),), "spec"),
    (
        "a Deployment twice",
        "Sandbox",
        (having("spec.workloads", [{"deployment": "orders"}, {"deployment": "orders"}]),),
        "spec.workloads[1]",
    ),
    (
        "too many workloads",
        "Sandbox",
        (having("spec.workloads", [{"deployment": f"d{n}"} for n in range(33)]),),
        "spec.workloads",
    ),
    ("a key with capitals", "Sandbox", (routing_key("Alice"),), "spec.routingKey"),
    ("a key that is too long", "Sandbox", (routing_key("a" * 41),), "spec.routingKey"),
    ("an empty key", "Sandbox", (routing_key(""),), "spec.routingKey"),
    ("a key that ends in a dash", "Sandbox", (routing_key("alice-"),), "spec.routingKey"),
    (
        "a name with a dot and no key",
        "Sandbox",
        (having("metadata.name", "alice.laptop"),),
        "spec.routingKey must be given",
    ),
    ("a long name and no key", "Sandbox", (having("metadata.name", "a" * 41),), "spec.routingKey must be given"),
    (
        "a name that is no label",
        "Sandbox",
        (having("metadata.name", "a" * 64), routing_key("alice")),
        "metadata.name labels every fork",
    ),
    (
        "several containers, one without a name",
        "Sandbox",
        (workload(containers=UNNAMED),),
        "spec.workloads[0].containers",
    ),
    ("a variable twice", "Sandbox", (workload(containers=[{"env": [{"name": "A"}, {"name": "A"}]}]),), "env[1]"),
    ("an unknown kind of patch", "Sandbox", (workload(patch={"type": "Yaml", "value": {}}),), "patch.type"),
    ("a patch of nothing", "Sandbox", (workload(patch={"type": "Merge"}),), "patch.value"),
    ("fewer replicas than none", "Sandbox", (workload(replicas=-1),), "replicas"),
    ("an unknown way to follow", "Sandbox", (workload(baselineUpdates="Never"),), "baselineUpdates"),
    ("an empty lifetime", "Sandbox", (ttl(""),), "spec.lifetime.ttl"),
    ("a lifetime of nothing", "Sandbox", (ttl("0h0m"),), "spec.lifetime.ttl"),
    ("a lifetime in weeks", "Sandbox", (ttl("2w"),), "spec.lifetime.ttl"),
    ("a lifetime from nowhere", "Sandbox", (ttl("2h", "Birth"),), "spec.lifetime.from"),
    ("a preview nowhere", "Sandbox", (having("spec.preview", {"host": "a.example.com"}),), "spec.preview.gateway"),
    ("a preview at an unknown gateway", "Sandbox", (previewing({"kind": "Nginx", "name": "x"}),), "gateway.kind"),
    (
        "an entry point in a namespace",
        "Sandbox",
        (previewing({"kind": "Traefik", "name": "web", "namespace": "shop"}),),
        "spec.preview.gateway.namespace",
    ),
    ("a preview of a wildcard", "Sandbox", (previewing({"name": "x"}, host="*.example.com"),), "spec.preview.host"),
    ("a preview of a short name", "Sandbox", (previewing({"name": "x"}, host="alice"),), "spec.preview.host"),
    (
        "a preview of itself",
        "Sandbox",
        (previewing({"name": "x"}, of="alice.preview.example.com"),),
        "host must be another one",
    ),
    ("a RouteGroup without a key", "RouteGroup", (without("spec.routingKey"),), "spec.routingKey"),
    ("a RouteGroup's key with capitals", "RouteGroup", (routing_key("Release"),), "spec.routingKey"),
    ("a RouteGroup's key that is too long", "RouteGroup", (routing_key("a" * 41),), "spec.routingKey"),
    ("a RouteGroup of nobody", "RouteGroup", (having("spec.sandboxes", {}),), "needs either a selector or names"),
    (
        "a RouteGroup by labels and by names",
        "RouteGroup",
        (of_labels({"release": "42"}), having("spec.sandboxes.names", ["alice"])),
        "needs either a selector or names",
    ),
    ("a RouteGroup of no names", "RouteGroup", (of_sandboxes(),), "spec.sandboxes.names"),
    ("too many names", "RouteGroup", (of_sandboxes(*(f"s{n}" for n in range(65))),), "spec.sandboxes.names"),
    ("a member twice", "RouteGroup", (of_sandboxes("alice", "alice"),), "spec.sandboxes.names[1]"),
    (
        "an expression without values",
        "RouteGroup",
        (selecting_by({"key": "release", "operator": "In"}),),
        "In and NotIn need values",
    ),
    (
        "an expression with values that it does not take",
        "RouteGroup",
        (selecting_by({"key": "release", "operator": "Exists", "values": ["42"]}),),
        "In and NotIn need values",
    ),
    (
        "an unknown operator",
        "RouteGroup",
        (selecting_by({"key": "release", "operator": "Near", "values": ["42"]}),),
        "operator",
    ),
    ("no brokers", "KafkaCluster", (having("spec.bootstrapServers", []),), "spec.bootstrapServers"),
    ("one group for all", "KafkaCluster", (having("spec.groupName", "{group}.sbx"),), "spec.groupName"),
    ("an unknown placeholder", "KafkaCluster", (having("spec.groupName", "{sandbox}.{team}"),), "spec.groupName"),
    (
        "a Secret twice",
        "KafkaCluster",
        (having("spec.propertiesFrom", [{"secret": "a"}] * 2),),
        "spec.propertiesFrom[1]",
    ),
    ("no topics", "KafkaConsumer", (having("spec.topics", []),), "spec.topics"),
    ("a topic twice", "KafkaConsumer", (having("spec.topics", ["a", "a"]),), "spec.topics[1]"),
    ("no cluster", "KafkaConsumer", (without("spec.cluster"),), "spec.cluster"),
    ("no variable for the group", "KafkaConsumer", (without("spec.groupEnv"),), "spec.groupEnv"),
    ("a coordination of later", "KafkaConsumer", (having("spec.coordination", "Telepathic"),), "spec.coordination"),
    ("no wait between polls", "KafkaConsumer", (having("spec.pollInterval", "0s"),), "spec.pollInterval"),
    ("a wait that is no duration", "KafkaConsumer", (having("spec.pollInterval", "soon"),), "spec.pollInterval"),
]

CHANGES: list[tuple[str, str, tuple[Modifier, ...], tuple[Modifier, ...], str]] = [
    ("another key", "Sandbox", (routing_key("alice"),), (routing_key("bob"),), "spec.routingKey"),
    ("a key later", "Sandbox", (), (routing_key("alice"),), "spec.routingKey"),
    ("a key no more", "Sandbox", (routing_key("alice"),), (), "spec.routingKey"),
    ("another key of a RouteGroup", "RouteGroup", (), (routing_key("bob"),), "spec.routingKey"),
    ("another Kafka cluster", "KafkaConsumer", (), (having("spec.cluster", "other"),), "spec.cluster"),
    ("another Deployment", "KafkaConsumer", (), (having("spec.deployment", "other"),), "spec.deployment"),
    ("another group", "KafkaConsumer", (), (having("spec.group", "other"),), "spec.group"),
    *(
        (f"another {field}", "KafkaRoute", (), (having(f"spec.{field}", "other"),), f"spec.{field}")
        for field in ("sandbox", "consumer", "cluster", "baselineGroup", "forkGroup")
    ),
]


def by_case(table: list[Any]) -> pytest.MarkDecorator:
    """Parametrize by the table's columns after its first, which names the case."""
    return pytest.mark.parametrize("row", [pytest.param(row[1:], id=row[0]) for row in table])


@by_case(GOOD)
async def test_good_objects_pass(row: tuple[str, tuple[Modifier, ...]], kubeconfig: str, namespace: str) -> None:
    kind, modifiers = row
    resource, obj = written(kind, namespace, *modifiers)
    async with connect(kubeconfig) as api:
        created = await api.create(resource, obj)
        await remove(api, resource, obj)
    for name, value in obj["spec"].items():
        assert name in created["spec"], name
        assert type(created["spec"][name]) is type(value)


@by_case(BAD)
async def test_bad_objects_are_refused(
    row: tuple[str, tuple[Modifier, ...], str], kubeconfig: str, namespace: str
) -> None:
    kind, modifiers, words = row
    resource, obj = written(kind, namespace, *modifiers)
    async with connect(kubeconfig) as api:
        with pytest.raises(ObjectRejectedError) as caught:
            await api.create(resource, obj)
    assert words in caught.value.message


@by_case(CHANGES)
async def test_what_cannot_change_is_kept(
    row: tuple[str, tuple[Modifier, ...], tuple[Modifier, ...], str], kubeconfig: str, namespace: str
) -> None:
    kind, before, after, words = row
    resource, obj = written(kind, namespace, *before)
    _, changed = written(kind, namespace, *after)
    async with connect(kubeconfig) as api:
        created = await api.create(resource, obj)
        changed["metadata"] = created["metadata"]
        with pytest.raises(ObjectRejectedError) as caught:
            await api.replace(resource, changed)
        await remove(api, resource, obj)
    assert words in caught.value.message
    assert "cannot be changed" in caught.value.message


async def test_what_may_change_does(kubeconfig: str, namespace: str) -> None:
    async with connect(kubeconfig) as api:
        resource, obj = written("Sandbox", namespace, routing_key("alice"), ttl("1h"))
        await api.apply(resource, obj, manager="user")
        _, changed = written("Sandbox", namespace, routing_key("alice"), workload(replicas=3))
        found = await api.apply(resource, changed, manager="user")
    assert found["spec"] == {
        "routingKey": "alice",
        "workloads": [{"deployment": "orders", "replicas": 3, "baselineUpdates": "Follow"}],
        "drain": {"policy": "Wait", "timeout": "15m"},
        "onForkUnavailable": "Error",
    }


async def test_defaults_are_filled_in(kubeconfig: str, namespace: str) -> None:
    resource, obj = written(
        "Sandbox",
        namespace,
        workload(containers=[{"image": "a:1"}], patch={"value": {}}),
        having("spec.lifetime", {"ttl": "1h"}),
    )
    async with connect(kubeconfig) as api:
        created = await api.create(resource, obj)
    (workload_,) = created["spec"]["workloads"]
    assert (workload_["replicas"], workload_["baselineUpdates"], workload_["patch"]["type"]) == (
        1,
        "Follow",
        "Strategic",
    )
    assert workload_["containers"] == [{"image": "a:1", "name": ""}]
    assert created["spec"]["lifetime"]["from"] == "Creation"


async def test_unknown_fields_are_dropped_but_for_parts_of_pods(kubeconfig: str, namespace: str) -> None:
    container = {"name": "app", "resources": {"limits": {"cpu": "1"}}, "colour": "red"}
    resource, obj = written("Sandbox", namespace, workload(containers=[container]))
    async with connect(kubeconfig) as api:
        created = await api.create(resource, obj)
    (kept,) = created["spec"]["workloads"][0]["containers"]
    assert kept == {"name": "app", "resources": {"limits": {"cpu": "1"}}}


async def test_a_status_is_apart_from_the_spec(kubeconfig: str, namespace: str) -> None:
    resource, obj = written("KafkaRoute", namespace, having("status", {"phase": "Active"}))
    async with connect(kubeconfig) as api:
        created = await api.create(resource, obj)
        assert "status" not in created
        status = {"phase": "Creating", "group": {"name": "g", "clusterId": "", "state": "", "members": 0}}
        found = await api.apply_status(
            resource, {**obj, "spec": {"sandbox": "another"}, "status": status}, manager="sidestream-kafka"
        )
    assert found["status"] == status
    assert found["spec"]["sandbox"] == "alice"
    assert found["metadata"]["generation"] == 1


@pytest.mark.usefixtures("crds")
async def test_all_kinds_are_served_under_their_own_names(kubeconfig: str) -> None:
    async with connect(kubeconfig) as api:
        for resource in (SANDBOXES, KAFKA_CLUSTERS, KAFKA_CONSUMERS, KAFKA_ROUTES):
            for item in await api.list(resource):
                assert item["kind"] == resource.kind
