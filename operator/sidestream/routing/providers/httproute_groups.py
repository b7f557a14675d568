"""What the provider keeps of an entry: lists of rules, each with what the objects that join it must say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sidestream.api.conditions import Reason
from sidestream.errors import InvalidInputError
from sidestream.kube.port import Object, Resource
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.table import Rule

GROUPS = "groups"
"""Key in `Entry.place`: the tuple of groups."""


@dataclass(frozen=True)
class UserRule:
    """A rule in its user's words.

    `origin` names it for users. `is_seed`: it belongs to the entry, and where it leads to a fork a copy is due; others
    are of neighbours, and are copied only where they would lose to a copy. `is_foreign`: it cannot be copied here.
    """

    rule: Rule
    origin: str
    is_seed: bool = True
    is_foreign: bool = False
    is_grpc: bool = False


@dataclass(frozen=True)
class Group:
    """Rules that proxies merge into one list, of which `rules` are those that matter.

    Objects that join it are of kind `resource`, in `namespace`, named after `stem`, and say `attachment`: their spec
    without rules. `guard` is the rule that must be written first, since users have none; None where they have.
    `port` is the only port at which the rules hold, None for all. `is_weighted`: see `httproute_precedence`,
    `can_answer`: see `httproute_answers`.
    """

    resource: Resource
    namespace: str
    stem: str
    attachment: dict[str, Any]
    rules: tuple[UserRule, ...]
    guard: Rule | None = None
    port: int | None = None
    is_weighted: bool = False
    needs_grants: bool = False
    can_answer: bool = True


def conflict(message: str) -> InvalidInputError:
    """The users' objects leave no room for tenant rules."""
    return InvalidInputError(Reason.ROUTE_CONFLICT, message)


def age(obj: Object) -> tuple[str, str, str]:
    """By what routes are sorted where their rules are equal: the oldest first, then by namespace and name."""
    metadata = obj["metadata"]
    return metadata.get("creationTimestamp", ""), metadata["namespace"], metadata["name"]


def listed(items: frozenset[ServiceHost]) -> str:
    """Services as users know them."""
    return " and ".join(f"{item.namespace}/{item.name}" for item in sorted(items))
