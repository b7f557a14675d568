"""How a fork's pods stay out of everybody else's selectors; pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sidestream.api.conditions import Reason
from sidestream.api.labels import GROUP, MANAGED_BY
from sidestream.api.names import fork_name
from sidestream.api.selectors import matches_selector
from sidestream.errors import InvalidInputError
from sidestream.kube.port import Object
from sidestream.sandbox.ownership import is_made

Labels = Mapping[str, str]


@dataclass(frozen=True)
class Selection:
    """A LabelSelector of the namespace and whose it is, such as `Service orders`."""

    owner: str
    selector: Mapping[str, Any]

    def picks(self, labels: Labels) -> bool:
        """Whether it selects pods with these labels."""
        return matches_selector(self.selector, labels)

    @property
    def demanded_keys(self) -> frozenset[str]:
        """The labels that must have a certain value, or one of some, for it to pick."""
        expressions = self.selector.get("matchExpressions") or ()
        named = {item["key"] for item in expressions if item["operator"] == "In"}
        return frozenset(named | set(self.selector.get("matchLabels") or {}))

    @property
    def keys(self) -> frozenset[str]:
        """Every label that it speaks of."""
        expressions = self.selector.get("matchExpressions") or ()
        return frozenset({item["key"] for item in expressions} | set(self.selector.get("matchLabels") or {}))

    @property
    def mentioned(self) -> frozenset[tuple[str, str]]:
        """Every key and value that it speaks of."""
        expressions = self.selector.get("matchExpressions") or ()
        named = {(item["key"], value) for item in expressions for value in item.get("values") or ()}
        return frozenset(named | set((self.selector.get("matchLabels") or {}).items()))


def selections_of(deployments: Iterable[Object], services: Iterable[Object]) -> tuple[Selection, ...]:
    """The selectors that a fork's pods must stay out of: all but those of what Sidestream made."""
    found = [
        Selection(f"Deployment {item['metadata']['name']}", item["spec"].get("selector") or {})
        for item in deployments
        if not is_made(item)
    ]
    found += [
        Selection(f"Service {item['metadata']['name']}", {"matchLabels": item["spec"]["selector"]})
        for item in services
        if not is_made(item) and item["spec"].get("selector")
    ]
    return tuple(sorted(found, key=lambda selection: selection.owner))


def budgets_of(budgets: Iterable[Object]) -> tuple[Selection, ...]:
    """The selectors of PodDisruptionBudgets, which would count a fork's pods among those that they protect.

    Left out are those that speak of forks: whoever wrote them meant them so.
    """
    found = [
        Selection(f"PodDisruptionBudget {item['metadata']['name']}", (item.get("spec") or {}).get("selector") or {})
        for item in budgets
        if (item.get("spec") or {}).get("selector") is not None
    ]
    meant_for_all = [selection for selection in found if not any(map(_is_ours, selection.keys))]
    return tuple(sorted(meant_for_all, key=lambda selection: selection.owner))


def escaped_labels(labels: Labels, selections: Sequence[Selection], sandbox: str) -> dict[str, str]:
    """`labels` with as few values changed as it takes for no selection to pick them; the same for the same input.

    No label is added or removed, and none of Sidestream's own is changed. Of several ways with equally many changes
    the alphabetically first keys are changed.

    Raises:
        InvalidInputError: ForkMatchesBaselineService, naming a selection that picks the pods whatever their values.
    """
    changeable = frozenset(key for key in labels if not _is_ours(key))
    fresh = _fresh_values({key: labels[key] for key in changeable}, selections, sandbox)
    ways: list[frozenset[str]] = [frozenset()]
    stubborn = ""
    while ways:
        longer: list[frozenset[str]] = []
        for changed in ways:
            current = {**labels, **{key: fresh[key] for key in changed}}
            picking = next((selection for selection in selections if selection.picks(current)), None)
            if picking is None:
                return current
            # Only a new value for a key that it demands makes it let go. A new value may please a selection that
            # excludes the old one (NotIn): that one then has its turn.
            keys = sorted((picking.demanded_keys & fresh.keys()) - changed)
            longer += [changed | {key} for key in keys]
            stubborn = stubborn if keys else picking.owner
        ways = list(dict.fromkeys(longer))
    raise InvalidInputError(
        Reason.FORK_MATCHES_BASELINE_SERVICE,
        f"{stubborn} selects the fork's pods whatever values their labels have; give it a selector that names a label "
        "with its value",
    )


def labels_apart(
    labels: Labels, selections: Sequence[Selection], wishes: Sequence[Selection], sandbox: str
) -> dict[str, str]:
    """`escaped_labels` that also stay out of as many of `wishes`, in their order, as can be escaped.

    Raises:
        InvalidInputError: as `escaped_labels`, for a selection; never for a wish.
    """
    # nothing escapes those without a demand, and most namespaces have no others that resist
    wishes = [wish for wish in wishes if wish.demanded_keys]
    try:
        return escaped_labels(labels, [*selections, *wishes], sandbox)
    except InvalidInputError:
        kept = list(selections)
    current = escaped_labels(labels, kept, sandbox)
    for wish in wishes:
        try:
            current = escaped_labels(labels, [*kept, wish], sandbox)
        except InvalidInputError:
            continue
        kept.append(wish)
    return current


def _is_ours(key: str) -> bool:
    return key == MANAGED_BY or key.startswith(f"{GROUP}/")


def _fresh_values(labels: Labels, selections: Iterable[Selection], sandbox: str) -> dict[str, str]:
    """For each key a value that says whose it is and that no selection speaks of."""
    mentioned = {pair for selection in selections for pair in selection.mentioned}
    fresh = {}
    for key, value in labels.items():
        taken = {other for name, other in mentioned if name == key}
        fresh[key] = _fresh_value(value, sandbox, taken)
    return fresh


def _fresh_value(value: str, sandbox: str, taken: Collection[str]) -> str:
    candidate = fork_name(value or "v", sandbox)
    number = 1
    while candidate in taken:
        number += 1
        candidate = fork_name(f"{value or 'v'}-{number}", sandbox)
    return candidate
