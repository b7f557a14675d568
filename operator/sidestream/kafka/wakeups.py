"""From an event of a watched object to the keys that it concerns.

It remembers of each object only whom it names, to answer "which routes use this cluster?" without asking the API
server. That memory only wakes: what it misses, a reconcile's next look or the resync finds.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from sidestream.api.labels import BASELINE, SANDBOX
from sidestream.kube.port import Object
from sidestream.runtime.reconcile import ObjectKey

Keys = AbstractSet[ObjectKey]


@dataclass(frozen=True)
class _Route:
    cluster: str
    consumer: str
    sandbox: str
    deployment: str


@dataclass(frozen=True)
class _Consumer:
    cluster: str
    deployment: str


class KafkaWakeups:
    """What the watches have told of KafkaRoutes, KafkaConsumers and KafkaClusters."""

    def __init__(self) -> None:
        self._routes: dict[ObjectKey, _Route] = {}
        self._consumers: dict[ObjectKey, _Consumer] = {}
        self._clusters: set[ObjectKey] = set()

    def all_routes(self) -> Keys:
        """Every KafkaRoute seen and not gone."""
        return frozenset(self._routes)

    def all_consumers(self) -> Keys:
        """Every KafkaConsumer seen and not gone."""
        return frozenset(self._consumers)

    def all_clusters(self) -> Keys:
        """Every KafkaCluster seen and not gone."""
        return frozenset(self._clusters)

    def of_route(self, obj: Object, *, gone: bool) -> Keys:
        """The KafkaRoute's own key."""
        key, spec = _key(obj), obj.get("spec", {})
        if gone:
            self._routes.pop(key, None)
        else:
            cluster, consumer = spec.get("cluster", ""), spec.get("consumer", "")
            self._routes[key] = _Route(cluster, consumer, spec.get("sandbox", ""), spec.get("deployment", ""))
        return {key}

    def of_consumer(self, obj: Object, *, gone: bool) -> Keys:
        """The KafkaConsumer's own key."""
        key, spec = _key(obj), obj.get("spec", {})
        if gone:
            self._consumers.pop(key, None)
        else:
            self._consumers[key] = _Consumer(spec.get("cluster", ""), spec.get("deployment", ""))
        return {key}

    def of_cluster(self, obj: Object, *, gone: bool) -> Keys:
        """The KafkaCluster's own key."""
        key = _key(obj)
        if gone:
            self._clusters.discard(key)
        else:
            self._clusters.add(key)
        return {key}

    def routes_of_cluster(self, obj: Object) -> Keys:
        """KafkaRoutes on a KafkaCluster: it may answer again, or be gone."""
        name = obj["metadata"]["name"]
        return {key for key, route in self._routes.items() if route.cluster == name}

    def consumers_of_cluster(self, obj: Object) -> Keys:
        """KafkaConsumers on a KafkaCluster."""
        name = obj["metadata"]["name"]
        return {key for key, consumer in self._consumers.items() if consumer.cluster == name}

    def routes_of_consumer(self, obj: Object) -> Keys:
        """KafkaRoutes of a KafkaConsumer: their group may now be somebody's baseline group."""
        consumer = _key(obj)
        return {
            key
            for key, route in self._routes.items()
            if key.namespace == consumer.namespace and route.consumer == consumer.name
        }

    def consumers_of_route(self, obj: Object) -> Keys:
        """The KafkaConsumer that counts a KafkaRoute among its tenants."""
        return {ObjectKey(obj["metadata"].get("namespace", ""), obj.get("spec", {}).get("consumer", ""))}

    def consumers_of_deployment(self, obj: Object, *, gone: bool) -> Keys:
        """KafkaConsumers whose Deployment has come or gone; its other changes do not matter to them."""
        deployment = _key(obj)
        is_news = gone or obj["metadata"].get("generation", 1) == 1
        return {
            key
            for key, consumer in self._consumers.items()
            if is_news and key.namespace == deployment.namespace and consumer.deployment == deployment.name
        }

    def routes_of_pod(self, obj: Object) -> Keys:
        """KafkaRoutes of the fork that a pod belongs to."""
        metadata = obj["metadata"]
        labels = metadata.get("labels") or {}
        return {
            key
            for key, route in self._routes.items()
            if key.namespace == metadata.get("namespace", "")
            and route.sandbox == labels.get(SANDBOX)
            and route.deployment == labels.get(BASELINE)
        }


def _key(obj: Object) -> ObjectKey:
    metadata = obj["metadata"]
    return ObjectKey(metadata.get("namespace", ""), metadata["name"])
