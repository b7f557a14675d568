"""Strategic merge of a Deployment, with the merge keys that Kubernetes itself declares for it; pure.

The API server merges a patch into an object that exists; a fork has to be complete before it is first written, so the
merge is done here. The result equals that of `kubectl patch --type strategic`; fields that this module does not know
merge as objects do and replace as lists do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sidestream.api.conditions import Reason
from sidestream.errors import InvalidInputError

_DIRECTIVE: Final = "$patch"
_RETAIN_KEYS: Final = "$retainKeys"
_ORDER: Final = "$setElementOrder/"
_DELETE_VALUES: Final = "$deleteFromPrimitiveList/"

_Item = Callable[[Any], Any]


@dataclass(frozen=True)
class Shape:
    """How a field merges.

    `merge_key` makes a list of objects merge item by item, `is_set` a list of scalars merge as a set; any other list
    is replaced. `fields` are the shapes of an object's fields, or of the fields of a list's items.
    """

    fields: Mapping[str, Shape] = field(default_factory=dict)
    merge_key: str = ""
    is_set: bool = False

    def child(self, name: str) -> Shape:
        """The shape of a field; a plain one when nothing is declared."""
        return self.fields.get(name, _PLAIN)


_PLAIN: Final = Shape()


def _by(merge_key: str, **fields: Shape) -> Shape:
    return Shape(fields, merge_key)


def _container_list() -> Shape:
    return _by(
        "name",
        env=_by("name"),
        ports=_by("containerPort"),
        volumeMounts=_by("mountPath"),
        volumeDevices=_by("devicePath"),
    )


_METADATA: Final = Shape({"ownerReferences": _by("uid"), "finalizers": Shape(is_set=True)})

_POD_SPEC: Final = Shape(
    {
        "containers": _container_list(),
        "initContainers": _container_list(),
        "ephemeralContainers": _container_list(),
        "volumes": _by("name"),
        "imagePullSecrets": _by("name"),
        "hostAliases": _by("ip"),
        "topologySpreadConstraints": _by("topologyKey"),
        "schedulingGates": _by("name"),
        "resourceClaims": _by("name"),
    }
)

DEPLOYMENT: Final = Shape(
    {"metadata": _METADATA, "spec": Shape({"template": Shape({"metadata": _METADATA, "spec": _POD_SPEC})})}
)


def merge_strategically(
    original: Mapping[str, Any], patch: Mapping[str, Any], shape: Shape = DEPLOYMENT
) -> dict[str, Any]:
    """A new object: `original` with the strategic merge patch laid over it; neither argument is changed.

    Raises:
        InvalidInputError: PatchFailed, naming the path where the patch does not fit.
    """
    return _merged_object(original, patch, shape, "")


def _merged_object(original: Mapping[str, Any], patch: Mapping[str, Any], shape: Shape, path: str) -> dict[str, Any]:
    match patch.get(_DIRECTIVE):
        case None:
            pass
        case "replace":
            return _plain_object(patch)
        case "delete":
            return {}
        case other:
            raise _misfit(path, f"$patch is {other!r}; an object takes replace or delete")
    result = _retained(original, patch, path)
    for name in _named_fields(patch):
        here = f"{path}.{name}" if path else name
        _merge_field(result, patch, name, shape.child(name), here)
    return result


def _merge_field(result: dict[str, Any], patch: Mapping[str, Any], name: str, shape: Shape, path: str) -> None:
    """Bring one field of `result` to what the patch and its directives for this field say."""
    removed = patch.get(_DELETE_VALUES + name)
    if removed is not None and name in result:
        result[name] = [item for item in _list(result[name], path) if item not in _list(removed, path)]
    before = result.get(name)
    if name in patch:
        value = patch[name]
        if value is None or (_is_dropped(value) and not isinstance(before, dict)):
            result.pop(name, None)
        else:
            result[name] = _merged_value(before, value, shape, path)
    order = patch.get(_ORDER + name)
    if order is not None and isinstance(result.get(name), list):
        key = _item_key(shape)
        places = [key(item) for item in _list(order, path)]
        result[name] = _ordered(result[name], places, [key(item) for item in before or ()], key)


def _merged_value(original: Any, value: Any, shape: Shape, path: str) -> Any:
    match original, value:
        case None, _:
            return _plain(value)
        case dict(), dict():
            return _merged_object(original, value, shape, path)
        case list(), list():
            return _merged_list(original, value, shape, path)
        case (dict() | list(), _) | (_, dict() | list()):
            raise _misfit(path, f"the baseline has {_article(original)} there and the patch {_article(value)}")
        case _:
            return value


def _merged_list(original: list[Any], patch: list[Any], shape: Shape, path: str) -> list[Any]:
    if shape.is_set:
        union = [*original, *(item for item in patch if item not in original)]
        return _ordered(union, patch, original, _itself)
    if not shape.merge_key:
        return [_plain(item) for item in patch]
    key = _item_key(shape)
    kept, additions = list(original), []
    for index, item in enumerate(patch):
        here = f"{path}[{index}]"
        _check_item(item, shape.merge_key, here)
        match item.get(_DIRECTIVE):
            case None:
                additions.append((here, item))
            case "delete":
                kept = [other for other in kept if key(other) != key(item)]
            case "replace":
                return [_plain(item) for item in patch if _DIRECTIVE not in item]
            case other:
                raise _misfit(here, f"$patch is {other!r}; a list's item takes replace or delete")
    merged = list(kept)
    for here, item in additions:
        place = next((index for index, other in enumerate(merged) if key(other) == key(item)), None)
        if place is None:
            merged.append(_plain(item))
        else:
            merged[place] = _merged_object(merged[place], item, shape, here)
    return _ordered(merged, [key(item) for _, item in additions], [key(item) for item in kept], key)


def _ordered(items: list[Any], patch_order: list[Any], original_order: list[Any], key: _Item) -> list[Any]:
    """The patch's items in the patch's order, woven into the others, which keep theirs.

    An item that only the patch has stands before those that only the original has: so does the API server place it.
    """
    ours = sorted((item for item in items if key(item) in patch_order), key=lambda item: patch_order.index(key(item)))
    theirs = [item for item in items if key(item) not in patch_order]
    result = []
    while ours and theirs:
        is_theirs_first = _is_before(key(theirs[0]), key(ours[0]), original_order)
        result.append((theirs if is_theirs_first else ours).pop(0))
    return [*result, *ours, *theirs]


def _is_before(one: Any, other: Any, order: list[Any]) -> bool:
    return one in order and other in order and order.index(one) < order.index(other)


def _retained(original: Mapping[str, Any], patch: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The fields of `original` that `$retainKeys` keeps; all when the patch has no such directive."""
    if _RETAIN_KEYS not in patch:
        return dict(original)
    kept = _list(patch[_RETAIN_KEYS], f"{path}.{_RETAIN_KEYS}")
    for name, value in patch.items():
        if value is not None and not name.startswith("$") and name not in kept:
            raise _misfit(path, f"the patch sets {name}, which its $retainKeys leaves out")
    return {name: value for name, value in original.items() if name in kept}


def _named_fields(patch: Mapping[str, Any]) -> Iterator[str]:
    """The fields that the patch speaks of, by value or by a directive about them; each once."""
    names = dict.fromkeys(
        name.partition("/")[2] if name.startswith((_ORDER, _DELETE_VALUES)) else name
        for name in patch
        if name not in (_DIRECTIVE, _RETAIN_KEYS)
    )
    return iter(names)


def _plain(value: Any) -> Any:
    """A value that only the patch has: as it is, without directives and nulls."""
    match value:
        case dict():
            return _plain_object(value)
        case list():
            return [_plain(item) for item in value if not _is_dropped(item)]
        case _:
            return value


def _plain_object(value: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _plain(item)
        for name, item in value.items()
        if item is not None and not name.startswith("$") and not _is_dropped(item)
    }


def _is_dropped(value: Any) -> bool:
    """An object with a directive has nothing to act on where the original has none."""
    return isinstance(value, dict) and _DIRECTIVE in value


def _item_key(shape: Shape) -> _Item:
    merge_key = shape.merge_key
    return (lambda item: item.get(merge_key) if isinstance(item, dict) else item) if merge_key else _itself


def _itself(item: Any) -> Any:
    return item


def _check_item(item: Any, merge_key: str, path: str) -> None:
    if not isinstance(item, dict):
        raise _misfit(path, f"an object is needed there, the patch has {_article(item)}")
    if merge_key not in item and item.get(_DIRECTIVE) != "replace":
        raise _misfit(path, f"the item has no {merge_key}, by which this list merges")


def _list(value: Any, path: str) -> list[Any]:
    if not isinstance(value, list):
        raise _misfit(path, f"a list is needed there, not {_article(value)}")
    return value


def _article(value: Any) -> str:
    match value:
        case dict():
            return "an object"
        case list():
            return "a list"
        case _:
            return "a plain value"


def _misfit(path: str, why: str) -> InvalidInputError:
    return InvalidInputError(Reason.PATCH_FAILED, f"the patch fails at {path or 'its root'}: {why}")
