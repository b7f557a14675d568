"""What controllers say about our own route objects."""

from __future__ import annotations

from typing import Any

import pytest

from sidestream.routing.acceptance import is_taken, refusal_of


def route(*conditions: dict[str, Any], generation: int = 2) -> dict[str, Any]:
    """An HTTPRoute of which one controller says this."""
    parents = [{"controllerName": "istio.io/gateway-controller", "conditions": list(conditions)}]
    metadata = {"name": "sidestream-orders-alice", "namespace": "shop", "generation": generation}
    return {"kind": "HTTPRoute", "metadata": metadata, "status": {"parents": parents}}


def said(type_: str, status: str, *, generation: int = 2, **words: str) -> dict[str, Any]:
    return {"type": type_, "status": status, "observedGeneration": generation, **words}


FINE: dict[str, dict[str, Any]] = {
    "nobody has said anything": {"kind": "HTTPRoute", "metadata": {"name": "a", "generation": 1}},
    "it is accepted": route(said("Accepted", "True"), said("ResolvedRefs", "True")),
    "it was refused in an earlier form": route(said("Accepted", "False", generation=1)),
    "another condition is false": route(said("ResolvedWaypoints", "False")),
    "nothing of it is left out": route(said("PartiallyInvalid", "False")),
}


@pytest.mark.parametrize("obj", FINE.values(), ids=FINE)
def test_there_is_nothing_against_a_route_when(obj: dict[str, Any]) -> None:
    assert refusal_of(obj) is None


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "it is not accepted": (
        route(said("Accepted", "False", message="No listener admits  namespace shop.")),
        "No listener admits namespace shop",
    ),
    "a backend is not found": (route(said("ResolvedRefs", "False", reason="BackendNotFound")), "BackendNotFound"),
    "some rules are left out": (
        route(said("Accepted", "True"), said("PartiallyInvalid", "True", message="rule 3 has a bad regex")),
        "rule 3 has a bad regex",
    ),
    "it is not known": (route(said("Accepted", "Unknown", reason="Pending")), "Pending"),
}


@pytest.mark.parametrize(("obj", "words"), REFUSED.values(), ids=REFUSED)
def test_a_route_is_not_taken_as_it_is_when(obj: dict[str, Any], words: str) -> None:
    who = "HTTPRoute sidestream-orders-alice is not taken as it is by istio.io/gateway-controller"
    assert refusal_of(obj) == f"{who}: {words}"


def test_a_route_without_a_word_from_anybody_is_taken_by_nobody() -> None:
    assert is_taken(route(said("Accepted", "True")))
    assert not is_taken({"kind": "HTTPRoute", "metadata": {"name": "a"}, "status": {"parents": []}})
