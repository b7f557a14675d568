from __future__ import annotations

from http import HTTPStatus
from typing import Any

import pytest

from builders import FakeClock
from sidestream.errors import KubeError, SidestreamError, TransientError
from sidestream.kube.port import KAFKA_CONSUMERS, SANDBOXES
from sidestream.kube.reviews import Access, Caller
from sidestream.mapping.directory import Workload
from sidestream.mapping.gate import REMEMBER_SECONDS, RefusedError, TokenGate

ORDERS = Workload("shop", "orders")
INSIDE, OUTSIDE = Caller("system:serviceaccount:shop:orders"), Caller("system:serviceaccount:billing:invoices")
HOW = "mount a projected ServiceAccount token with audience sidestream and name its file in SIDESTREAM_TOKEN_FILE."


class Authority:
    """Knows the tokens `inside` and `outside`, and who may do what."""

    def __init__(self, *allowed: tuple[Caller, Access]) -> None:
        self.allowed = set(allowed)
        self.questions: list[str] = []
        self.fault: SidestreamError | None = None

    async def caller_of(self, token: str) -> Caller | None:
        self.questions.append("caller")
        if self.fault is not None:
            raise self.fault
        return {"inside": INSIDE, "outside": OUTSIDE}.get(token)

    async def may(self, caller: Caller, access: Access) -> bool:
        self.questions.append(f"{access.verb} {access.resource.plural} {access.namespace}/{access.name}")
        if self.fault is not None:
            raise self.fault
        return (caller, access) in self.allowed


async def ask(authority: Authority | TokenGate, header: str, *kafka_consumers: str) -> tuple[HTTPStatus, str] | None:
    """Why the request is refused, None when it is not."""
    gate = authority if isinstance(authority, TokenGate) else TokenGate(authority, FakeClock())
    try:
        await gate.admit_consumer(header, ORDERS, kafka_consumers or ("orders",))
    except RefusedError as error:
        return error.status, str(error)
    return None


async def test_a_service_account_reads_the_mappings_of_its_own_namespace() -> None:
    authority = Authority()

    assert await ask(authority, "Bearer inside") is None
    assert await ask(authority, "bearer  inside ") is None
    assert authority.questions == ["caller", "caller"], "no right has to be asked for"


async def test_others_read_what_kubernetes_lets_them_read() -> None:
    access = Access("get", KAFKA_CONSUMERS, "shop", "orders")

    assert await ask(Authority((OUTSIDE, access)), "Bearer outside") is None


@pytest.mark.parametrize(
    ("header", "status", "sentence"),
    [
        pytest.param("", 401, f"The request has no bearer token: {HOW}", id="no token"),
        pytest.param("Basic aW5zaWRl", 401, f"The request has no bearer token: {HOW}", id="a password"),
        pytest.param(
            "Bearer stolen",
            401,
            f"The bearer token has expired, or is not for audience sidestream: {HOW}",
            id="nobody's token",
        ),
        pytest.param(
            "Bearer outside",
            403,
            "system:serviceaccount:billing:invoices may not read the mapping of shop/orders: use a ServiceAccount of "
            "namespace shop, or let a RoleBinding there give it `get` on KafkaConsumer orders.",
            id="another namespace",
        ),
    ],
)
async def test_who_may_not_come_in_is_told_what_to_do(header: str, status: int, sentence: str) -> None:
    assert await ask(Authority(), header) == (status, sentence)


async def test_a_mapping_of_several_kafka_consumers_is_for_who_may_read_all_of_them() -> None:
    one, two = (Access("get", KAFKA_CONSUMERS, "shop", name) for name in ("one", "two"))

    assert await ask(Authority((OUTSIDE, one)), "Bearer outside", "two", "one") is not None
    assert await ask(Authority((OUTSIDE, one), (OUTSIDE, two)), "Bearer outside", "two", "one") is None


async def test_whether_a_consumer_exists_is_told_only_to_who_may_read_all_of_the_namespace() -> None:
    gate = TokenGate(Authority((OUTSIDE, Access("get", KAFKA_CONSUMERS, "shop", "orders"))), FakeClock())

    with pytest.raises(RefusedError, match="give it `get` on KafkaConsumers"):
        await gate.admit_consumer("Bearer outside", ORDERS, ())


async def test_tenants_are_for_who_may_list_sandboxes_everywhere() -> None:
    allowed = TokenGate(Authority((OUTSIDE, Access("list", SANDBOXES))), FakeClock())
    await allowed.admit_tenants("Bearer outside")

    with pytest.raises(RefusedError, match="let a ClusterRoleBinding give it `list` on Sandboxes") as refused:
        await allowed.admit_tenants("Bearer inside")
    assert refused.value.status == 403


@pytest.mark.parametrize("header", ["Bearer inside", "Bearer outside", "Bearer stolen"])
async def test_who_is_known_never_makes_us_ask_again_within_a_minute(header: str) -> None:
    authority, clock = Authority(), FakeClock()
    gate = TokenGate(authority, clock)
    first = await ask(gate, header)
    asked = len(authority.questions)

    clock.move(REMEMBER_SECONDS - 1)
    assert await ask(gate, header) == first
    assert len(authority.questions) == asked

    clock.move(1)
    await ask(gate, header)
    assert len(authority.questions) == 2 * asked


async def test_while_the_api_server_is_away_who_is_known_goes_on_and_others_are_told_to_come_back() -> None:
    authority, clock = Authority(), FakeClock()
    gate = TokenGate(authority, clock)
    await ask(gate, "Bearer inside")
    authority.fault = TransientError("no connection to the API server")
    clock.move(10 * REMEMBER_SECONDS)

    assert await ask(gate, "Bearer inside") is None
    assert await ask(gate, "Bearer outside") == (
        503,
        "Whether you may read this cannot be told now: no connection to the API server. Ask again in a moment.",
    )


async def test_an_api_server_that_refuses_to_tell_lets_nobody_in() -> None:
    authority = Authority()
    authority.fault = KubeError("the API server refused to create TokenReview: forbidden", status=403)

    refused: Any = await ask(authority, "Bearer inside")

    assert refused[0] == 503


async def test_tokens_themselves_are_not_remembered() -> None:
    gate = TokenGate(Authority(), FakeClock())

    await ask(gate, "Bearer inside")

    assert all(b"inside" not in key for key in gate._callers._known)
