"""What a Sandbox says about containers, laid over those of a pod; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from sidestream.api.conditions import Reason
from sidestream.api.sandbox import ContainerOverride
from sidestream.errors import InvalidInputError
from sidestream.kube.port import Object

_LISTS: Final = ("containers", "initContainers")


def with_overrides(pod_spec: Object, overrides: Iterable[ContainerOverride]) -> Object:
    """A new pod spec with the overrides applied, each to the container or init container of its name.

    Raises:
        InvalidInputError: ContainerNotFound, listing the containers that there are.
    """
    for override in overrides:
        name = container_name(pod_spec, override.name)
        pod_spec = _with_changed(pod_spec, name, partial(_overridden, by=override))
    return pod_spec


def with_variables(pod_spec: Object, variables: Mapping[str, str], *, container: str = "") -> Object:
    """A new pod spec with these environment variables set in one container, or in all when none is named."""
    entries = [{"name": name, "value": value} for name, value in sorted(variables.items())]
    return with_env(pod_spec, entries, container=container)


def with_env(pod_spec: Object, entries: Sequence[Object], *, container: str = "") -> Object:
    """A new pod spec with these entries of `env` laid over those of one container, or of all when none is named."""
    return _with_changed(pod_spec, container, lambda item: {**item, "env": merged_env(item.get("env") or (), entries)})


def container_name(pod_spec: Object, name: str) -> str:
    """The container that `name` means; it may be empty when there is one.

    Raises:
        InvalidInputError: ContainerNotFound, listing the containers that there are.
    """
    names = [item["name"] for item in pod_spec["containers"]]
    if not name:
        if len(names) == 1:
            return str(names[0])
        raise InvalidInputError(
            Reason.CONTAINER_NOT_FOUND, f"no container is named and there is more than one: {', '.join(names)}"
        )
    every = all_containers(pod_spec)
    if name not in every:
        raise InvalidInputError(
            Reason.CONTAINER_NOT_FOUND, f"there is no container {name}; there is {', '.join(every)}"
        )
    return name


def all_containers(pod_spec: Object) -> list[str]:
    """The names of the containers, then those of the init containers."""
    return [str(item["name"]) for item in containers_of(pod_spec)]


def containers_of(pod_spec: Object) -> list[Object]:
    """The containers, then the init containers."""
    return [item for field in _LISTS for item in pod_spec.get(field) or ()]


def merged_env(env: Sequence[Object], additions: Iterable[Object], unset: Iterable[str] = ()) -> list[Object]:
    """`env` without `unset`, each addition in the place of the variable of its name, new ones at the end.

    Names are unique afterwards: of several definitions the last counts, as it does to the kubelet. (Server-side apply
    refuses a list that has a name twice, although a Deployment may.)
    """
    dropped = set(unset)
    last = {item["name"]: index for index, item in enumerate(env)}
    entries = {
        item["name"]: item
        for index, item in enumerate(env)
        if last[item["name"]] == index and item["name"] not in dropped
    }
    entries.update((item["name"], dict(item)) for item in additions)
    return list(entries.values())


def _overridden(container: Object, by: ContainerOverride) -> Object:
    changes: dict[str, Any] = {
        "image": by.image,
        "command": None if by.command is None else list(by.command),
        "args": None if by.args is None else list(by.args),
        "resources": by.resources,
    }
    if by.env or by.unset_env:
        changes["env"] = merged_env(container.get("env") or (), (item.to_json() for item in by.env), by.unset_env)
    return {**container, **{name: value for name, value in changes.items() if value is not None}}


def _with_changed(pod_spec: Object, name: str, change: Callable[[Object], Object]) -> Object:
    """A new pod spec with `change` applied to the container of this name, or to all when the name is empty."""
    lists = {
        field: [change(item) if name in ("", item["name"]) else item for item in pod_spec[field]]
        for field in _LISTS
        if pod_spec.get(field)
    }
    return {**pod_spec, **lists}
