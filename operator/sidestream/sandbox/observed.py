"""What a plan for one Sandbox is made from: a snapshot of the cluster, without any way to reach it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from sidestream.api.kafka import KafkaCluster, KafkaConsumer, KafkaRoute
from sidestream.api.route_group import RouteGroup
from sidestream.api.sandbox import Sandbox
from sidestream.api.tenancy import Tenancy
from sidestream.kube.port import KAFKA_ROUTES, Object, Resource
from sidestream.sandbox.ownership import baseline_of, is_ours, name_of

Ref = tuple[Resource, str]
"""A kind and a name in the Sandbox's namespace."""


@dataclass(frozen=True)
class Observed:
    """What is, as read within one reconcile.

    `objects` holds by kind and name: all Deployments and Services of the namespace, all that `checks` look at, and of
    ControllerRevisions and KafkaRoutes the Sandbox's own and those that hold a name it needs. `pods` are those of its
    forks, `others` the other Sandboxes of the namespace, `groups` its RouteGroups, `consumers` those of the Sandbox's
    workloads, `clusters` theirs. `rejections` are objects that the API server refused in this very reconcile, with its
    words. While the Sandbox is being deleted only what was made for it is read, unless a fork that works off records
    has to be made from its baseline again.
    """

    raw: Object
    sandbox: Sandbox
    objects: Mapping[Resource, Mapping[str, Object]] = field(default_factory=dict)
    pods: tuple[Object, ...] = ()
    others: tuple[Sandbox, ...] = ()
    groups: tuple[RouteGroup, ...] = ()
    consumers: tuple[KafkaConsumer, ...] = ()
    clusters: Mapping[str, KafkaCluster] = field(default_factory=dict)
    rejections: Mapping[Ref, str] = field(default_factory=dict)

    @cached_property
    def tenancy(self) -> Tenancy:
        """Who serves which key in the namespace."""
        return Tenancy((self.sandbox, *self.others), self.groups)

    def all(self, resource: Resource) -> list[Object]:
        """Every observed object of a kind, by name."""
        return [item for _, item in sorted(self.objects.get(resource, {}).items())]

    def live(self, resource: Resource, name: str) -> Object | None:
        """The object that holds this name, whoever made it."""
        return self.objects.get(resource, {}).get(name)

    def ours(self, resource: Resource) -> list[Object]:
        """The objects of a kind that were made for this Sandbox, by name."""
        return [item for item in self.all(resource) if is_ours(item, self.sandbox)]

    def our(self, resource: Resource, name: str) -> Object | None:
        """The object of this name when it was made for this Sandbox."""
        held = self.live(resource, name)
        return held if held is not None and is_ours(held, self.sandbox) else None

    def our_routes(self) -> dict[str, KafkaRoute]:
        """This Sandbox's KafkaRoutes by name."""
        return {name_of(item): KafkaRoute.from_json(item) for item in self.ours(KAFKA_ROUTES)}

    def pods_of(self, baseline: str) -> list[Object]:
        """The pods of the fork of a baseline, by name."""
        return sorted((item for item in self.pods if baseline_of(item) == baseline), key=name_of)

    def after(self, written: Iterable[tuple[Resource, Object]], rejections: Mapping[Ref, str]) -> Observed:
        """The same with objects as they are after a write."""
        objects = {resource: dict(items) for resource, items in self.objects.items()}
        for resource, obj in written:
            objects.setdefault(resource, {})[name_of(obj)] = obj
        return replace(self, objects=objects, rejections=dict(rejections))
