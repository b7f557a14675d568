"""Reads everything that decides about one Sandbox; decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from pydantic import ValidationError

from sidestream.api.kafka import KafkaCluster, KafkaConsumer
from sidestream.api.labels import MANAGED_BY, MANAGED_BY_VALUE, SANDBOX
from sidestream.api.names import fork_name
from sidestream.api.route_group import RouteGroup
from sidestream.api.sandbox import Sandbox
from sidestream.errors import NotServedError
from sidestream.kube.port import (
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    KAFKA_CLUSTERS,
    KAFKA_CONSUMERS,
    KAFKA_ROUTES,
    PODS,
    ROUTE_GROUPS,
    SANDBOXES,
    SERVICES,
    KubeApi,
    Object,
    Resource,
)
from sidestream.kube.selectors import selector_text
from sidestream.sandbox.checks import READS
from sidestream.sandbox.draining import needs_baseline
from sidestream.sandbox.observed import Observed
from sidestream.sandbox.ownership import name_of

M = TypeVar("M")

_MADE = (DEPLOYMENTS, SERVICES, CONTROLLER_REVISIONS, KAFKA_ROUTES)


async def observe(api: KubeApi, namespace: str, name: str) -> Observed | None:
    """The Sandbox and what it depends on; None when there is no such Sandbox."""
    raw = await api.get(SANDBOXES, namespace, name)
    if raw is None:
        return None
    sandbox = Sandbox.from_json(raw)
    if sandbox.is_deleting:
        made = await _observe_made(api, raw, sandbox)
        if not needs_baseline(made):
            return made
    return await _observe_all(api, raw, sandbox)


async def _observe_made(api: KubeApi, raw: Object, sandbox: Sandbox) -> Observed:
    lists = await asyncio.gather(*(_made(api, resource, sandbox) for resource in (*_MADE, PODS)))
    objects = {resource: _by_name(items) for resource, items in zip(_MADE, lists, strict=False)}
    return Observed(raw, sandbox, objects, pods=tuple(lists[-1]))


async def _observe_all(api: KubeApi, raw: Object, sandbox: Sandbox) -> Observed:
    namespace = sandbox.metadata.namespace
    deployments, services, pods, others = await asyncio.gather(
        api.list(DEPLOYMENTS, namespace),
        api.list(SERVICES, namespace),
        _made(api, PODS, sandbox),
        api.list(SANDBOXES, namespace),
    )
    groups, consumers, around = await asyncio.gather(
        route_groups(api, namespace), _consumers(api, sandbox), _around(api, namespace)
    )
    pinned = [item.deployment for item in sandbox.spec.workloads if item.baseline_updates == "Pin"]
    revisions, routes, clusters = await asyncio.gather(
        _made_or_named(api, CONTROLLER_REVISIONS, sandbox, pinned),
        _made_or_named(api, KAFKA_ROUTES, sandbox, (item.metadata.name for item in consumers)),
        _clusters(api, {item.spec.cluster for item in consumers}),
    )
    return Observed(
        raw,
        sandbox,
        {
            DEPLOYMENTS: _by_name(deployments),
            SERVICES: _by_name(services),
            CONTROLLER_REVISIONS: revisions,
            KAFKA_ROUTES: routes,
            **around,
        },
        pods=tuple(pods),
        others=_others(others, sandbox),
        groups=groups,
        consumers=consumers,
        clusters=clusters,
    )


async def route_groups(api: KubeApi, namespace: str) -> tuple[RouteGroup, ...]:
    """The RouteGroups of a namespace; one that cannot be read has no members."""
    try:
        items = await api.list(ROUTE_GROUPS, namespace)
    except NotServedError:
        # the operator is newer than the definitions in the cluster, which know of no RouteGroup
        return ()
    return tuple(readable(items, RouteGroup.from_json))


def readable(items: Iterable[Object], parse: Callable[[Object], M]) -> Iterator[M]:
    """The objects that can be read; others are not served, and so they hold nothing."""
    for item in items:
        try:
            yield parse(item)
        except ValidationError:
            continue


async def _made(api: KubeApi, resource: Resource, sandbox: Sandbox) -> list[Object]:
    """The objects labelled as this Sandbox's."""
    labels = {MANAGED_BY: MANAGED_BY_VALUE, SANDBOX: sandbox.metadata.name}
    return await api.list(resource, sandbox.metadata.namespace, labels=selector_text(labels))


async def _made_or_named(
    api: KubeApi, resource: Resource, sandbox: Sandbox, baselines: Iterable[str]
) -> dict[str, Object]:
    """The Sandbox's objects of a kind, and whatever else holds the names of those it may need."""
    found = _by_name(await _made(api, resource, sandbox))
    for name in sorted({fork_name(baseline, sandbox.metadata.name) for baseline in baselines} - found.keys()):
        held = await api.get(resource, sandbox.metadata.namespace, name)
        if held is not None:
            found[name] = held
    return found


async def _around(api: KubeApi, namespace: str) -> dict[Resource, dict[str, Object]]:
    """What may speak of the namespace's baselines, by kind and name; no objects of a kind that is not served."""
    lists = await asyncio.gather(*(_served(api, resource, namespace) for resource in READS))
    return {resource: _by_name(items) for resource, items in zip(READS, lists, strict=True)}


async def _served(api: KubeApi, resource: Resource, namespace: str) -> list[Object]:
    try:
        return await api.list(resource, namespace)
    except NotServedError:
        return []


async def _consumers(api: KubeApi, sandbox: Sandbox) -> tuple[KafkaConsumer, ...]:
    """The KafkaConsumers of the Sandbox's workloads."""
    forked = {item.deployment for item in sandbox.spec.workloads}
    consumers = [KafkaConsumer.from_json(item) for item in await api.list(KAFKA_CONSUMERS, sandbox.metadata.namespace)]
    return tuple(item for item in consumers if item.spec.deployment in forked)


async def _clusters(api: KubeApi, names: Iterable[str]) -> Mapping[str, KafkaCluster]:
    found = {name: await api.get(KAFKA_CLUSTERS, "", name) for name in sorted(names)}
    return {name: KafkaCluster.from_json(item) for name, item in found.items() if item is not None}


def _others(items: Iterable[Object], sandbox: Sandbox) -> tuple[Sandbox, ...]:
    others = (item for item in items if item["metadata"].get("uid") != sandbox.metadata.uid)
    return tuple(readable(others, Sandbox.from_json))


def _by_name(items: Iterable[Object]) -> dict[str, Object]:
    return {name_of(item): item for item in items}
