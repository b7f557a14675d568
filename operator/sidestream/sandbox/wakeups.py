"""Which Sandboxes an observed object concerns: from events to keys, without asking the API server.

What it remembers serves only to wake enough and not too much; a reconcile never decides by it. Too many wake-ups cost
a read, and what an event failed to wake the resync finds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from sidestream.api.labels import SANDBOX
from sidestream.runtime.reconcile import ObjectKey

Json = Mapping[str, Any]


class SandboxWakeups:
    """Sandboxes by what they depend on, kept up to date from the events of the objects themselves."""

    def __init__(self) -> None:
        self._deployments: dict[str, dict[str, frozenset[str]]] = defaultdict(dict)
        self._generations: dict[str, tuple[int, bool]] = {}

    def all_keys(self) -> set[ObjectKey]:
        """Every Sandbox seen and not yet gone."""
        return {ObjectKey(namespace, name) for namespace, names in self._deployments.items() for name in names}

    def of_sandbox(self, sandbox: Json, *, gone: bool = False) -> set[ObjectKey]:
        """The Sandbox and those that want a Deployment of it: one may now have what the other gave up."""
        key = _key(sandbox)
        known = self._deployments[key.namespace]
        before = known.pop(key.name, frozenset())
        workloads = sandbox.get("spec", {}).get("workloads", [])
        now = frozenset(str(workload["deployment"]) for workload in workloads)
        if not gone:
            known[key.name] = now
        concerned = before | now
        rivals = {name for name, wanted in known.items() if wanted & concerned}
        return {ObjectKey(key.namespace, name) for name in rivals} | {key}

    def with_rivals(self, keys: Iterable[ObjectKey]) -> set[ObjectKey]:
        """These Sandboxes and those that want a Deployment of theirs: who serves a RouteGroup's key is between them."""
        found = set(keys)
        for namespace in {key.namespace for key in found}:
            known = self._deployments[namespace]
            concerned = frozenset().union(*(known.get(key.name, ()) for key in found if key.namespace == namespace))
            found |= {ObjectKey(namespace, name) for name, wanted in known.items() if wanted & concerned}
        return found

    def of_owned(self, obj: Json) -> set[ObjectKey]:
        """The Sandbox that an object of ours is labelled with."""
        name = obj["metadata"].get("labels", {}).get(SANDBOX)
        return {ObjectKey(_key(obj).namespace, name)} if name else set()

    def of_deployment(self, deployment: Json, *, gone: bool = False) -> set[ObjectKey]:
        """A fork's Sandbox; for any other Deployment those that fork it, once per generation.

        A baseline's status changes with every pod of it and says nothing about its forks.
        """
        owned = self.of_owned(deployment)
        if owned or not self._is_news(deployment, gone=gone):
            return owned
        key = _key(deployment)
        return {
            ObjectKey(key.namespace, name)
            for name, wanted in self._deployments[key.namespace].items()
            if key.name in wanted
        }

    def of_namespace(self, obj: Json) -> set[ObjectKey]:
        """A fork object's Sandbox; else all of the namespace (a user's Service may select any baseline)."""
        namespace = _key(obj).namespace
        return self.of_owned(obj) or {ObjectKey(namespace, name) for name in self._deployments[namespace]}

    def of_consumer(self, consumer: Json) -> set[ObjectKey]:
        """The Sandboxes that fork a KafkaConsumer's Deployment."""
        namespace = _key(consumer).namespace
        deployment = consumer.get("spec", {}).get("deployment")
        return {
            ObjectKey(namespace, name) for name, wanted in self._deployments[namespace].items() if deployment in wanted
        }

    def _is_news(self, obj: Json, *, gone: bool) -> bool:
        metadata = obj["metadata"]
        seen = (metadata.get("generation", 0), "deletionTimestamp" in metadata)
        if gone:
            self._generations.pop(metadata["uid"], None)
            return True
        news = self._generations.get(metadata["uid"]) != seen
        self._generations[metadata["uid"]] = seen
        return news


def _key(obj: Json) -> ObjectKey:
    metadata = obj["metadata"]
    return ObjectKey(metadata.get("namespace", ""), metadata["name"])
