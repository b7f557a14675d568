"""What a check is given, and what it gives; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from sidestream.api.conditions import Reason
from sidestream.api.findings import FindingReason, listed
from sidestream.kube.port import NAMESPACES, Object
from sidestream.routing.entries import EntryKey
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.providers.provider import Cluster, title_of

Labels = Mapping[str, str]


@dataclass(frozen=True)
class Finding:
    """What a check has found, a sentence for users.

    `fork` is the name of the one fork Service that it is about, empty when it is about all. With `blocks_as` no tenant
    rules may be written for the entry, and that is the reason which the route gets.
    """

    reason: FindingReason
    message: str
    blocks_as: Reason | None = None
    fork: str = ""

    @property
    def is_blocking(self) -> bool:
        """Whether tenant rules would do harm, or would do nothing."""
        return self.blocks_as is not None


@dataclass(frozen=True)
class Fork:
    """A fork Service of the Service, the fork Deployment behind it and the baseline Deployment that was forked.

    `baseline` is None when it is gone; nothing can then be said about what holds for its pods.
    """

    host: ServiceHost
    deployment: Object
    baseline: Object | None


@dataclass(frozen=True)
class Pods:
    """The pods of a fork: its Service, the names of the baseline and of itself, and their labels."""

    fork: ServiceHost
    names: tuple[str, str]
    labels: Labels

    @property
    def text(self) -> str:
        """`the pods of Deployment orders and not those of its fork orders-alice`."""
        return f"the pods of Deployment {self.names[0]} and not those of its fork {self.names[1]}"


@dataclass(frozen=True)
class Baseline:
    """The labels of a baseline's pods, and the pods of its forks."""

    labels: Labels
    forks: tuple[Pods, ...]


@dataclass(frozen=True)
class Subject:
    """All that is looked at: one Service behind one entry.

    `provider` is the kind that carries the entry's rules (such as HTTPRoute), None when nothing can, and `source` the
    user's object whose rules they repeat, if any; `service` is the baseline Service, `forks` those of its forks that
    are to be looked at.
    """

    key: EntryKey
    provider: str | None
    source: str | None
    service: Object
    forks: tuple[Fork, ...]
    cluster: Cluster

    @property
    def host(self) -> ServiceHost:
        """The baseline Service's host."""
        metadata = self.service["metadata"]
        return ServiceHost(metadata["namespace"], metadata["name"], self.cluster.domain)

    @property
    def title(self) -> str:
        """`Service shop/orders`."""
        return f"Service {self.host.namespace}/{self.host.name}"

    @cached_property
    def baselines(self) -> tuple[Baseline, ...]:
        """The baselines whose forks are looked at, where they are known.

        Most policies are about none of them; so there are many forks to look at only for those that are.
        """
        found: dict[str, tuple[Labels, list[Pods]]] = {}
        for fork in self.forks:
            if fork.baseline is not None:
                name = fork.baseline["metadata"]["name"]
                _, pods = found.setdefault(name, (pod_labels(fork.baseline), []))
                names = name, fork.deployment["metadata"]["name"]
                pods.append(Pods(fork.host, names, pod_labels(fork.deployment)))
        return tuple(Baseline(labels, tuple(pods)) for labels, pods in found.values())

    def namespace_labels(self, name: str) -> Labels:
        """The labels of a namespace; none when it is not known."""
        return labels_of(self.cluster.get(NAMESPACES, "", name) or {"metadata": {}})


Check = Callable[[Subject], Iterable[Finding]]


def labels_of(obj: Object) -> Labels:
    """`metadata.labels`."""
    return obj["metadata"].get("labels") or {}


def pod_labels(deployment: Object) -> Labels:
    """The labels of a Deployment's pods."""
    return labels_of({"metadata": {}, **deployment["spec"]["template"]})


def titles(objects: Iterable[Object]) -> str:
    """Several as a sentence has them."""
    return listed([title_of(item) for item in objects])
