"""Live local copies of several kinds as one view that is quick to read in any order.

Objects in it belong to everybody who reads it: nothing in them may be changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sidestream.kube.port import Object, Resource
from sidestream.kube.reflector import Change, Keep, Reflector, WatchableApi, whole
from sidestream.runtime.clock import Clock
from sidestream.runtime.reconcile import ObjectKey


@dataclass(frozen=True)
class Scope:
    """Which objects of a kind are copied, and what of them is kept; `is_optional`: the kind may be unserved."""

    labels: str = ""
    keep: Keep = whole
    is_optional: bool = False


@dataclass
class _Sorted:
    """The objects of a kind by namespace and name; made when somebody asks, thrown away when one changes."""

    everywhere: tuple[Object, ...]
    by_namespace: dict[str, tuple[Object, ...]] = field(default_factory=dict)


class Copies:
    """Keeps the copies while `run` runs; `on_change` gets every difference, and must not block or raise."""

    def __init__(
        self,
        api: WatchableApi,
        clock: Clock,
        scopes: Mapping[Resource, Scope],
        on_change: Callable[[Resource, Change], None],
    ) -> None:
        self._on_change = on_change
        self._sorted: dict[Resource, _Sorted] = {}
        self._reflectors = {
            resource: Reflector(
                api,
                resource,
                clock,
                labels=scope.labels,
                keep=scope.keep,
                may_be_unserved=scope.is_optional,
                on_change=self._taker(resource),
            )
            for resource, scope in scopes.items()
        }

    async def run(self) -> None:
        """Watch for ever."""
        async with asyncio.TaskGroup() as group:
            for resource, reflector in self._reflectors.items():
                group.create_task(reflector.run(), name=f"watch {resource.plural}")

    async def wait_until_complete(self) -> None:
        """Return once every kind has been listed, or is known not to be served."""
        for reflector in self._reflectors.values():
            await reflector.synced.wait()

    def is_served(self, resource: Resource) -> bool:
        """Whether the API server serves this kind; False for a kind of which there is no copy."""
        reflector = self._reflectors.get(resource)
        return reflector is not None and reflector.is_served

    def all(self, resource: Resource, namespace: str = "") -> Sequence[Object]:
        """The objects of a kind by namespace and name, of one namespace or of all."""
        view = self._view(resource)
        if not namespace:
            return view.everywhere
        if namespace not in view.by_namespace:
            view.by_namespace[namespace] = tuple(
                item for item in view.everywhere if item["metadata"].get("namespace") == namespace
            )
        return view.by_namespace[namespace]

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """One object, None when there is none."""
        reflector = self._reflectors.get(resource)
        return None if reflector is None else reflector.objects.get(ObjectKey(namespace, name))

    def learn(self, resource: Resource, obj: Object) -> None:
        """Take over what a write of ours returned; the copy would have it a little later by itself."""
        if resource in self._reflectors:
            self._reflectors[resource].learn(obj)

    def forget(self, resource: Resource, obj: Object) -> None:
        """Take over a deletion of ours."""
        if resource in self._reflectors:
            self._reflectors[resource].forget(obj)

    def _view(self, resource: Resource) -> _Sorted:
        if resource not in self._sorted:
            reflector = self._reflectors.get(resource)
            objects = {} if reflector is None else reflector.objects
            self._sorted[resource] = _Sorted(tuple(objects[key] for key in sorted(objects)))
        return self._sorted[resource]

    def _taker(self, resource: Resource) -> Callable[[Change], None]:
        def take(change: Change) -> None:
            self._sorted.pop(resource, None)
            self._on_change(resource, change)

        return take


def without_managed_fields(obj: Object) -> Object:
    """`Keep` all but the record of who manages which field, often half of an object."""
    metadata: dict[str, Any] = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    return {**obj, "metadata": metadata}
