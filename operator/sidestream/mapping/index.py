"""Objects of one kind, found by a property that several may share; one that changes costs no look at the others."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, KeysView
from typing import Generic, TypeVar

from sidestream.runtime.reconcile import ObjectKey

M = TypeVar("M")
G = TypeVar("G", bound=Hashable)


class Index(Generic[M, G]):
    """`group_of` says by what an object is found."""

    def __init__(self, group_of: Callable[[M], G]) -> None:
        self._group_of = group_of
        self._objects: dict[ObjectKey, M] = {}
        self._groups: dict[G, dict[ObjectKey, M]] = {}

    def put(self, key: ObjectKey, new: M | None) -> set[G]:
        """Take in an object's new state, None when it is gone; returns the groups that it left, joined or is in."""
        touched = set()
        old = self._objects.pop(key, None)
        if old is not None:
            group = self._group_of(old)
            touched.add(group)
            members = self._groups[group]
            del members[key]
            if not members:
                del self._groups[group]
        if new is not None:
            group = self._group_of(new)
            touched.add(group)
            self._objects[key] = new
            self._groups.setdefault(group, {})[key] = new
        return touched

    def get(self, key: ObjectKey) -> M | None:
        """The object as it was put last, None when it is gone."""
        return self._objects.get(key)

    def find(self, group: G) -> Collection[M]:
        """The objects of one group in no order."""
        return self._groups.get(group, {}).values()

    @property
    def groups(self) -> KeysView[G]:
        """The groups that have an object."""
        return self._groups.keys()
