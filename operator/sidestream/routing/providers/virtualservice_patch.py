"""Our rules within a user's own VirtualService, which happens only where its annotation allows it.

Ours are known by their names and stand before the user's, which stay as they are and in their order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sidestream.api.labels import ROUTING, ROUTING_PATCH
from sidestream.kube.port import Object
from sidestream.routing.ownership import NAME_PREFIX
from sidestream.routing.table import Rule


def is_patch_allowed(virtual_service: Object) -> bool:
    """Whether the user wants our rules in this very object."""
    return (virtual_service["metadata"].get("annotations") or {}).get(ROUTING) == ROUTING_PATCH


def has_rules(virtual_service: Object) -> bool:
    """Whether rules of ours are in it, wanted or not."""
    return any(map(_is_ours, _http(virtual_service)))


def with_rules(virtual_service: Object, rules: Iterable[Rule]) -> Object:
    """The VirtualService with `rules` as ours in front, in place of those that were; nothing else differs.

    Their names get the prefix `sidestream-`, by which `without_rules` finds them again.
    """
    ours = [{**rule, "name": NAME_PREFIX + rule.get("name", "rule")} for rule in rules]
    return _with_http(virtual_service, [*ours, *_of_the_user(virtual_service)])


def without_rules(virtual_service: Object) -> Object:
    """The VirtualService as its user wrote it; the very same object where no rule of ours is in it."""
    if not has_rules(virtual_service):
        return virtual_service
    return _with_http(virtual_service, _of_the_user(virtual_service))


def _with_http(virtual_service: Object, http: Sequence[Rule]) -> Object:
    return {**virtual_service, "spec": {**virtual_service["spec"], "http": list(http)}}


def _of_the_user(virtual_service: Object) -> list[Rule]:
    return [rule for rule in _http(virtual_service) if not _is_ours(rule)]


def _http(virtual_service: Object) -> list[Any]:
    return virtual_service["spec"].get("http") or []


def _is_ours(rule: Rule) -> bool:
    return str(rule.get("name", "")).startswith(NAME_PREFIX)
