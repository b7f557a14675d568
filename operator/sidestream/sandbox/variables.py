"""What a fork's program is told by environment variables: whose fork it is, its groups, ids of its own; pure.

Ids that a broker takes for one and the same client (static members, transactional producers) must differ between a
fork and its baseline, or each fences the other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from sidestream.api.conditions import Reason
from sidestream.errors import InvalidInputError
from sidestream.kube.port import Object
from sidestream.sandbox.containers import all_containers, container_name, containers_of, with_env, with_variables

SANDBOX_VARIABLE: Final = "SIDESTREAM_SANDBOX"
"""Tells the SDK in a fork whose fork it is."""


@dataclass(frozen=True)
class GroupVariable:
    """Where a KafkaConsumer says that a fork reads its consumer group; `container` is empty for the only one."""

    consumer: str
    container: str
    name: str
    group: str

    @property
    def field(self) -> str:
        """The field of the KafkaConsumer."""
        return "groupEnv"


@dataclass(frozen=True)
class UniqueVariable:
    """Where a KafkaConsumer says that its program reads an id that a fork must not share with it."""

    consumer: str
    container: str
    name: str

    @property
    def field(self) -> str:
        """The field of the KafkaConsumer."""
        return "uniqueEnv"


Variable = GroupVariable | UniqueVariable


def resolved(variable: Variable, pod_spec: Object) -> Variable:
    """The variable with its container named.

    Raises:
        InvalidInputError: ContainerNotFound.
    """
    try:
        return replace(variable, container=container_name(pod_spec, variable.container))
    except InvalidInputError as error:
        message = f"KafkaConsumer {variable.consumer} sets {variable.name} in {variable.field}: {error.message}"
        raise InvalidInputError(error.reason, message) from error


def told(pod_spec: Object, sandbox: str, variables: Iterable[Variable]) -> Object:
    """A new pod spec in which the fork is told all this; `variables` have their containers named.

    Raises:
        InvalidInputError: PatchFailed: a container is gone that has to be told a group, or an id comes from elsewhere.
    """
    pod_spec = with_variables(pod_spec, {SANDBOX_VARIABLE: sandbox})
    # a group comes last: it must not get the suffix of an id when a KafkaConsumer names its variable twice
    for variable in sorted(variables, key=lambda item: isinstance(item, GroupVariable)):
        match variable:
            case GroupVariable():
                pod_spec = _with_group(pod_spec, variable)
            case UniqueVariable():
                pod_spec = _with_own_id(pod_spec, variable, sandbox)
    return pod_spec


def taken_over(pod_spec: Object, fork: Object, sandbox: str, groups: Collection[str]) -> Object:
    """A new pod spec whose containers are told what those of the same names in the fork's pod spec are told."""
    for container in containers_of(fork):
        if container["name"] in all_containers(pod_spec):
            pod_spec = with_env(pod_spec, list(_told_to(container, sandbox, groups)), container=container["name"])
    return with_variables(pod_spec, {SANDBOX_VARIABLE: sandbox})


def tells_all(pod_spec: Object, groups: Iterable[str]) -> bool:
    """Whether each of these groups is told to some container; a program that is not told joins the baseline's."""
    values = {entry.get("value") for item in containers_of(pod_spec) for entry in item.get("env") or ()}
    return values.issuperset(groups)


def _told_to(container: Object, sandbox: str, groups: Collection[str]) -> Iterator[Object]:
    for variable in container.get("env") or ():
        value = variable.get("value") or ""
        if value in groups or value.endswith(_suffix(sandbox)):
            yield variable


def _with_group(pod_spec: Object, variable: GroupVariable) -> Object:
    if variable.container not in all_containers(pod_spec):
        raise InvalidInputError(
            Reason.PATCH_FAILED,
            f"the patch removes container {variable.container}, in which KafkaConsumer {variable.consumer} sets "
            f"{variable.name}",
        )
    return with_variables(pod_spec, {variable.name: variable.group}, container=variable.container)


def _with_own_id(pod_spec: Object, variable: UniqueVariable, sandbox: str) -> Object:
    """An id that is not set, or to nothing, is none that could clash."""
    container: Object = next((item for item in containers_of(pod_spec) if item["name"] == variable.container), {})
    entry: Object = next((item for item in container.get("env") or () if item["name"] == variable.name), {})
    if entry.get("valueFrom"):
        raise InvalidInputError(
            Reason.PATCH_FAILED,
            f"KafkaConsumer {variable.consumer} names {variable.name} of container {variable.container} in uniqueEnv, "
            "but its value comes from valueFrom, to which nothing can be added: let it have a value, which may refer "
            "to another variable as $(NAME)",
        )
    value = str(entry.get("value") or "")
    if not value or value.endswith(_suffix(sandbox)):
        return pod_spec
    return with_variables(pod_spec, {variable.name: value + _suffix(sandbox)}, container=variable.container)


def _suffix(sandbox: str) -> str:
    """Of letters, digits, dots and dashes only: more a group.instance.id must not have."""
    return f".sbx.{sandbox}"
