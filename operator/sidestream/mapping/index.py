"""Objects of one kind, found by a property that several may share; one that changes costs no look at the others."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, KeysView
from typing import Generic, TypeVar

from sidestream.runtime.reconcile import ObjectKey

M = TypeVar("M")
G = TypeVar("G", bound=Hashable)


class Index(Generic[M, G]):
    """`groups_of` says by what an object is found."""

    def __init__(self, groups_of: Callable[[M], Iterable[G]]) -> None:
        self._groups_of = groups_of
        self._objects: dict[ObjectKey, M] = {}
        self._groups: dict[G, dict[ObjectKey, M]] = {}

    def put(self, key: ObjectKey, new: M | None) -> set[G]:
        """Take in an object's new state, None when it is gone; returns the groups that it left, joined or is in."""
        touched = set()
        old = self._objects.pop(key, None)
        for group in () if old is None else set(self._groups_of(old)):
            touched.add(group)
            members = self._groups[group]
            del members[key]
            if not members:
                del self._groups[group]
        if new is not None:
            self._objects[key] = new
            for group in self._groups_of(new):
                touched.add(group)
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
