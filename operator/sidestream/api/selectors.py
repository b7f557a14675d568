"""LabelSelectors, evaluated as Kubernetes does; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def matches_selector(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether a LabelSelector (`matchLabels`, `matchExpressions`) picks these labels.

    An empty selector picks everything, None nothing.

    Raises:
        ValueError: an operator that Kubernetes does not have.
    """
    if selector is None:
        return False
    plain: Mapping[str, str] = selector.get("matchLabels") or {}
    return all(labels.get(key) == value for key, value in plain.items()) and all(
        _matches_expression(expression, labels) for expression in selector.get("matchExpressions") or ()
    )


def _matches_expression(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key = expression["key"]
    values = expression.get("values") or ()
    match expression["operator"]:
        case "In":
            return key in labels and labels[key] in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case unknown:
            raise ValueError(f"a label selector has the unknown operator {unknown!r}")
