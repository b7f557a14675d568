"""Which Services' routes an observed object concerns: from events to keys, without asking the API server.

What it remembers serves only to wake enough and not too much; a reconcile never decides by it. Services that nobody
forks, nearly all of a cluster, are never woken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sidestream.api.labels import BASELINE, BASELINE_SERVICE, MANAGED_BY, MANAGED_BY_VALUE, SANDBOX
from sidestream.routing.hosts import DEFAULT_DOMAIN, ServiceHost
from sidestream.runtime.reconcile import ObjectKey

Json = Mapping[str, Any]


@dataclass(frozen=True)
class _Fork:
    """What a fork Service's labels say."""

    service: ObjectKey
    sandbox: ObjectKey
    baseline: str


class RoutingWakeups:
    """Forked Services by what they depend on, kept up to date from the events of the objects themselves."""

    def __init__(self, domain: str = DEFAULT_DOMAIN) -> None:
        self._domain = domain
        self._forks: dict[ObjectKey, _Fork] = {}
        self._entries: dict[ObjectKey, frozenset[ObjectKey]] = {}
        self._seen: dict[ObjectKey, tuple[Any, ...]] = {}
        self._written: set[ObjectKey] = set()
        self._hosts: dict[ObjectKey, tuple[str, ...]] = {}
        self._namespaces: set[str] = set()

    def all_keys(self) -> set[ObjectKey]:
        """Every Service with a fork, with an entry in a Sandbox's status, or with routes of ours."""
        forked = {fork.service for fork in self._forks.values()}
        return forked.union(self._written, *self._entries.values())

    def of_service(self, service: Json, *, gone: bool = False) -> set[ObjectKey]:
        """A fork's baseline Service; any other Service itself, if it is forked."""
        key = _key(service)
        before = self._forks.pop(key, None)
        now = _fork(service)
        if now is not None and not gone:
            self._forks[key] = now
        concerned = {fork.service for fork in (before, now) if fork is not None}
        return concerned or {key} & self.all_keys()

    def of_deployment(self, deployment: Json) -> set[ObjectKey]:
        """The baseline Services whose fork Services stand before this fork."""
        labels = deployment["metadata"].get("labels", {})
        sandbox = ObjectKey(_key(deployment).namespace, labels.get(SANDBOX, ""))
        baseline = labels.get(BASELINE)
        return {fork.service for fork in self._forks.values() if (fork.sandbox, fork.baseline) == (sandbox, baseline)}

    def of_sandbox(self, sandbox: Json, *, gone: bool = False) -> set[ObjectKey]:
        """The Services that it forks or has entries about, when its spec changed or it is being deleted."""
        key = _key(sandbox)
        entries = sandbox.get("status", {}).get("routes") or ()
        metadata = sandbox["metadata"]
        now = (metadata.get("uid"), metadata.get("generation"), "deletionTimestamp" in metadata)
        is_news = gone or self._seen.get(key) != now
        self._seen[key] = now
        self._entries[key] = frozenset(ObjectKey(key.namespace, entry["service"]) for entry in entries)
        concerned = {fork.service for fork in self._forks.values() if fork.sandbox == key} | self._entries[key]
        if gone:
            del self._seen[key], self._entries[key]
        return concerned if is_news else set()

    def of_namespace(self, namespace: Json, *, gone: bool = False) -> set[ObjectKey]:
        """Every routed Service when a namespace comes or goes: an overlay names the namespaces that it is for."""
        name = namespace["metadata"]["name"]
        is_news = gone or name not in self._namespaces
        (self._namespaces.discard if gone else self._namespaces.add)(name)
        return self.all_keys() if is_news else set()

    def of_virtual_service(self, virtual_service: Json, *, gone: bool = False) -> set[ObjectKey]:
        """The Service that one of ours was written for; the forked Services that a user's names, or named before."""
        key = _key(virtual_service)
        labels = virtual_service["metadata"].get("labels", {})
        if labels.get(MANAGED_BY) == MANAGED_BY_VALUE and BASELINE_SERVICE in labels:
            service = ObjectKey(key.namespace, labels[BASELINE_SERVICE])
            (self._written.discard if gone else self._written.add)(service)
            return {service}
        now = tuple(virtual_service.get("spec", {}).get("hosts") or ())
        before = self._hosts.pop(key, ())
        if not gone:
            self._hosts[key] = now
        return self._named(key.namespace, {*before, *now})

    def _named(self, namespace: str, hosts: Iterable[str]) -> set[ObjectKey]:
        return {
            key
            for key in self.all_keys()
            if any(
                self._host(key).is_named_by(host, namespace) or self._host(key).is_covered_by(host) for host in hosts
            )
        }

    def _host(self, key: ObjectKey) -> ServiceHost:
        return ServiceHost(key.namespace, key.name, self._domain)


def _fork(service: Json) -> _Fork | None:
    labels = service["metadata"].get("labels", {})
    if BASELINE_SERVICE not in labels or SANDBOX not in labels:
        return None
    namespace = _key(service).namespace
    return _Fork(
        service=ObjectKey(namespace, labels[BASELINE_SERVICE]),
        sandbox=ObjectKey(namespace, labels[SANDBOX]),
        baseline=labels.get(BASELINE, ""),
    )


def _key(obj: Json) -> ObjectKey:
    metadata = obj["metadata"]
    return ObjectKey(metadata.get("namespace", ""), metadata["name"])
