"""A user's patch on a fork's Deployment: Strategic, Merge or JSON; pure."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, assert_never

import jsonpatch

from sidestream.api.conditions import Reason
from sidestream.api.sandbox import Patch
from sidestream.errors import InvalidInputError
from sidestream.kube.port import Object
from sidestream.sandbox.strategic import merge_strategically

_KEPT = (("apiVersion",), ("kind",), ("metadata", "name"), ("metadata", "namespace"), ("spec", "selector"))


def patched(deployment: Object, patch: Patch) -> Object:
    """A new Deployment: `deployment` with the patch laid over it.

    Raises:
        InvalidInputError: PatchFailed with the path at fault: the patch does not fit, or it changes what makes the
            fork a fork (its identity or its selector).
    """
    result = _applied(deployment, patch)
    for path in _KEPT:
        if _at(result, path) != _at(deployment, path):
            raise _failure(f"it changes {'.'.join(path)}, which Sidestream sets itself")
    _check_template(result)
    return result


def _check_template(deployment: Object) -> None:
    """Refuse what the fork's own labels and variables could not be written into."""
    template = ("spec", "template")
    for owner in ((), template):
        for field in ("labels", "annotations"):
            path = (*owner, "metadata", field)
            if not _are_texts(_at(deployment, path)):
                raise _failure(f"it leaves something else than texts in {'.'.join(path)}")
    containers = _at(deployment, (*template, "spec", "containers"))
    if not _are_containers(containers) or not containers:
        raise _failure("it leaves spec.template.spec.containers without containers")
    if not _are_containers(_at(deployment, (*template, "spec", "initContainers"))):
        raise _failure("it leaves something else than containers in spec.template.spec.initContainers")
    replicas = _at(deployment, ("spec", "replicas"))
    if replicas is not None and type(replicas) is not int:
        raise _failure("it leaves spec.replicas without a number")


def _applied(deployment: Object, patch: Patch) -> Object:
    match patch.type:
        case "Strategic":
            return copy.deepcopy(merge_strategically(deployment, _object(patch)))
        case "Merge":
            return copy.deepcopy(_merged(deployment, _object(patch)))
        case "JSON":
            return _edited(deployment, patch.value)
        case _:
            assert_never(patch.type)


def _object(patch: Patch) -> Mapping[str, Any]:
    if not isinstance(patch.value, dict):
        raise _failure(f"a {patch.type} patch is an object like a part of a Deployment")
    return patch.value


def _merged(original: Any, patch: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON merge patch (RFC 7386)."""
    result = dict(original) if isinstance(original, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merged(result.get(name), value) if isinstance(value, dict) else value
    return result


def _edited(deployment: Object, operations: Any) -> Object:
    """A JSON patch (RFC 6902), one operation at a time so that the message can name the one that fails."""
    if not isinstance(operations, list):
        raise _failure("a JSON patch is a list of operations")
    result: Any = copy.deepcopy(deployment)
    for number, operation in enumerate(operations, start=1):
        try:
            result = jsonpatch.apply_patch(result, [operation])
        except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
            raise _failure(f"operation {number} ({_described(operation)}) does not fit the Deployment") from error
    if not isinstance(result, dict):
        raise _failure("it replaces the Deployment by something else")
    return result


def _described(operation: Any) -> str:
    match operation:
        case {"op": str(op), "path": str(path)}:
            return f"{op} {path}"
        case _:
            return "which needs op and path"


def _at(obj: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        obj = obj.get(name) if isinstance(obj, dict) else None
    return obj


def _are_texts(entries: Any) -> bool:
    return entries is None or (isinstance(entries, dict) and all(isinstance(value, str) for value in entries.values()))


def _are_containers(items: Any) -> bool:
    return _are_objects(items) and all(_are_objects(item.get("env")) for item in items or ())


def _are_objects(items: Any) -> bool:
    """Whether it is a list of named objects; a list that is missing is an empty one."""
    return items is None or (
        isinstance(items, list) and all(isinstance(item, dict) and isinstance(item.get("name"), str) for item in items)
    )


def _failure(why: str) -> InvalidInputError:
    return InvalidInputError(Reason.PATCH_FAILED, f"the patch fails: {why}")
