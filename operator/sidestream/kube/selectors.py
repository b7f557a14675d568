"""Plain label selectors, evaluated and written down as Kubernetes does; pure. `api.selectors` has the others."""

from __future__ import annotations

from collections.abc import Mapping


def matches_labels(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether a plain selector, such as a Service's, picks these labels. An empty one picks nothing.

    A Service without a selector has no Pods of its own; mind that an empty LabelSelector picks everything.
    """
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


def selector_text(labels: Mapping[str, str]) -> str:
    """The `labels` argument of `KubeApi.list` that demands all of these labels."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
