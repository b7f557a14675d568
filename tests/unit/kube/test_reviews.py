from __future__ import annotations

from typing import Any

import pytest

from sidestream.kube.port import KAFKA_CONSUMERS, Object, Resource
from sidestream.kube.reviews import SUBJECT_ACCESS_REVIEWS, TOKEN_REVIEWS, Access, Caller, Reviews

ORDERS = {"username": "system:serviceaccount:shop:orders", "uid": "u1", "groups": ["system:serviceaccounts"]}


class Api:
    """Gives every review this status."""

    def __init__(self, **status: Any) -> None:
        self.status = status
        self.asked: list[tuple[Resource, Object]] = []

    async def create(self, resource: Resource, obj: Object) -> Object:
        self.asked.append((resource, obj["spec"]))
        return {**obj, "status": self.status}


async def test_a_token_for_our_audience_has_an_owner() -> None:
    api = Api(authenticated=True, audiences=["sidestream"], user=ORDERS)

    caller = await Reviews(api, audience="sidestream").caller_of("secret")

    assert caller == Caller("system:serviceaccount:shop:orders", "u1", ("system:serviceaccounts",))
    assert caller.namespace == "shop"
    assert api.asked == [(TOKEN_REVIEWS, {"token": "secret", "audiences": ["sidestream"]})]


@pytest.mark.parametrize(
    "status",
    [
        pytest.param({"authenticated": False, "error": "token has expired"}, id="not valid"),
        pytest.param({}, id="nothing said"),
        pytest.param({"authenticated": True, "user": ORDERS}, id="no word of audiences"),
        pytest.param({"authenticated": True, "audiences": ["api"], "user": ORDERS}, id="another audience"),
    ],
)
async def test_any_other_token_has_none(status: dict[str, Any]) -> None:
    assert await Reviews(Api(**status), audience="sidestream").caller_of("secret") is None


@pytest.mark.parametrize(("status", "allowed"), [({"allowed": True}, True), ({"allowed": False}, False), ({}, False)])
async def test_what_a_caller_may_do_is_asked_with_all_that_is_known_of_it(
    status: dict[str, Any], *, allowed: bool
) -> None:
    api = Api(**status)
    access = Access("get", KAFKA_CONSUMERS, "shop", "orders")

    assert await Reviews(api, audience="sidestream").may(Caller("jane", "u2", ("devs",)), access) is allowed
    assert api.asked == [
        (
            SUBJECT_ACCESS_REVIEWS,
            {
                "user": "jane",
                "uid": "u2",
                "groups": ["devs"],
                "resourceAttributes": {
                    "verb": "get",
                    "group": "sidestream.dev",
                    "version": "v1alpha1",
                    "resource": "kafkaconsumers",
                    "namespace": "shop",
                    "name": "orders",
                },
            },
        )
    ]


@pytest.mark.parametrize("name", ["jane", "system:node:a", "system:serviceaccounts", ""])
def test_only_service_accounts_have_a_namespace(name: str) -> None:
    assert Caller(name).namespace == ""
