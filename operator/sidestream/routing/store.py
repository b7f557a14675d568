"""The live copies of everything that decides routes, and the entries that their changes wake.

Routes of one Service may hang on a thousand Sandboxes and on users' objects in any namespace; reading all that anew
for each reconcile would cost more than the rest of it (docs/decisions/0011). A reconcile that saw an old copy is woken
again by the change it has missed, and the proof by probe does not depend on any copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from sidestream.kube.copies import Copies, Scope, without_managed_fields
from sidestream.kube.port import DEPLOYMENTS, NAMESPACES, ROUTE_GROUPS, SANDBOXES, SERVICES, Object, Resource
from sidestream.kube.reflector import Change, WatchableApi
from sidestream.routing.entries import EntryKey
from sidestream.routing.hosts import DEFAULT_DOMAIN
from sidestream.routing.index import RoutingIndex
from sidestream.routing.providers.provider import Provider
from sidestream.runtime.clock import Clock


def _nobody_listens(_: EntryKey) -> None:
    """Where wake-ups go before `run`."""


def _what_selectors_see(deployment: Object) -> Object:
    """`Keep` the labels of a Deployment and its pods, and how many pods are ready; the rest is most of it."""
    pods = {"metadata": {"labels": deployment["spec"]["template"].get("metadata", {}).get("labels") or {}}}
    return {
        **without_managed_fields({name: deployment[name] for name in ("apiVersion", "kind", "metadata")}),
        "spec": {"template": pods},
        "status": {"readyReplicas": (deployment.get("status") or {}).get("readyReplicas", 0)},
    }


class RoutingStore:
    """A `Cluster` and a `Copy`; `index` goes with it. `extra` are kinds that only findings look at."""

    def __init__(
        self,
        api: WatchableApi,
        clock: Clock,
        providers: Sequence[Provider],
        *,
        domain: str = DEFAULT_DOMAIN,
        extra: Iterable[Resource] = (),
    ) -> None:
        self.domain = domain
        lean = Scope(keep=without_managed_fields)
        optional = Scope(keep=without_managed_fields, is_optional=True)
        carried = {resource for provider in providers for resource in (*provider.reads, *provider.writes)}
        scopes: dict[Resource, Scope] = {
            **dict.fromkeys(sorted({*carried, *extra}, key=lambda item: item.plural), optional),
            # who wrote which row is in the managed fields
            SANDBOXES: Scope(),
            ROUTE_GROUPS: optional,
            NAMESPACES: lean,
            SERVICES: lean,
            DEPLOYMENTS: Scope(keep=_what_selectors_see),
        }
        self._copies = Copies(api, clock, scopes, self._take)
        self.index = RoutingIndex(self, providers)
        self._wake: Callable[[EntryKey], None] = _nobody_listens
        self._is_own_write = False

    async def run(self, wake: Callable[[EntryKey], None]) -> None:
        """Watch for ever; `wake` gets the entries to look at again, and must not block or raise."""
        self._wake = wake
        await self._copies.run()

    async def wait_until_complete(self) -> None:
        """Return once everything has been read."""
        await self._copies.wait_until_complete()
        self.index.refresh()

    def is_served(self, resource: Resource) -> bool:
        """See `Cluster`."""
        return self._copies.is_served(resource)

    def all(self, resource: Resource, namespace: str = "") -> Sequence[Object]:
        """See `Cluster`."""
        return self._copies.all(resource, namespace)

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """See `Cluster`."""
        return self._copies.get(resource, namespace, name)

    def learn(self, resource: Resource, obj: Object) -> None:
        """See `Copy`; nobody is woken, for who writes goes on by itself."""
        self._is_own_write = True
        try:
            self._copies.learn(resource, obj)
        finally:
            self._is_own_write = False

    def forget(self, resource: Resource, obj: Object) -> None:
        """See `Copy`."""
        self._is_own_write = True
        try:
            self._copies.forget(resource, obj)
        finally:
            self._is_own_write = False

    def _take(self, resource: Resource, change: Change) -> None:
        concerned = self.index.take(resource, change)
        if not self._is_own_write:
            for key in concerned:
                self._wake(key)
