"""When a configuration counts as proven, and what the prober's client makes of answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable

import httpx
import pytest

from builders import FakeClock
from sidestream.errors import TransientError
from sidestream.routing.proof import (
    Claim,
    Evidence,
    HttpProber,
    Proof,
    hash_in,
    probe_answer,
    prove,
    prove_within,
)

HASH = "0123456789abcdef0123"
OLD = "ffffffffffffffffffff"


class ScriptedProber:
    """Answers each question with the next answer, the last one for ever."""

    def __init__(self, *answers: Iterable[str | None] | Exception) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    async def ask(self, host: str, port: int) -> tuple[str | None, ...]:
        self.asked.append((host, port))
        answer = self._answers[0] if len(self._answers) == 1 else self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return tuple(answer)


CASES: dict[str, tuple[Iterable[str | None], str | None, Evidence]] = {
    "all have it": ([HASH, HASH], HASH, Evidence.PROVEN),
    "one has an older one": ([HASH, OLD], HASH, Evidence.NOT_YET),
    "one has none": ([HASH, None], HASH, Evidence.NOT_YET),
    "none has any": ([None, None], HASH, Evidence.NOT_YET),
    "nobody answered": ([], HASH, Evidence.NOT_YET),
    "all are without": ([None, None], None, Evidence.PROVEN),
    "one still has one": ([None, OLD], None, Evidence.NOT_YET),
}


@pytest.mark.parametrize(("hashes", "wanted", "evidence"), CASES.values(), ids=CASES)
async def test_a_claim_is_proven_by_every_answer(
    hashes: Iterable[str | None], wanted: str | None, evidence: Evidence
) -> None:
    assert await prove(Claim("orders", (80,), wanted), ScriptedProber(hashes)) == Proof(evidence)


async def test_every_port_must_answer() -> None:
    prober = ScriptedProber([HASH], [OLD])
    assert (await prove(Claim("orders", (80, 81), HASH), prober)).evidence is Evidence.NOT_YET
    assert prober.asked == [("orders", 80), ("orders", 81)]


async def test_without_a_prober_nothing_is_known() -> None:
    assert await prove(Claim("orders", (80,), HASH), None) == Proof(Evidence.UNKNOWN, "no prober is configured")


async def test_a_prober_that_is_away_proves_nothing() -> None:
    prober = ScriptedProber(TransientError("the prober is away"))
    assert await prove(Claim("orders", (80,), HASH), prober) == Proof(Evidence.UNKNOWN, "the prober is away")


async def test_it_is_asked_again_until_proven() -> None:
    clock = FakeClock()
    prober = ScriptedProber([None], [OLD], [HASH])
    task = asyncio.create_task(prove_within(2.0, Claim("orders", (80,), HASH), prober, clock))
    await clock.advance(0.3)
    assert not task.done()
    await clock.advance(0.3)
    assert task.result().evidence is Evidence.PROVEN


async def test_asking_ends_when_the_time_is_up() -> None:
    clock = FakeClock()
    task = asyncio.create_task(prove_within(2.0, Claim("orders", (80,), HASH), ScriptedProber([None]), clock))
    await clock.advance(2.5)
    assert task.result().evidence is Evidence.NOT_YET


def test_only_a_proxys_answer_carries_a_hash() -> None:
    assert hash_in(probe_answer(HASH)) == HASH
    assert hash_in("<html>not found</html>") is None
    assert hash_in(f"{probe_answer(HASH)} and more") is None


# --- the client

Answer = Callable[[httpx.Request], httpx.Response]


def client(answer: Answer) -> HttpProber:
    return HttpProber("http://prober:8080/", transport=httpx.MockTransport(answer))


async def test_the_client_asks_for_host_and_port() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200, json={"hashes": [HASH, None]})

    assert await client(answer).ask("orders.shop.svc.cluster.local", 80) == (HASH, None)
    assert asked == ["http://prober:8080/probe?host=orders.shop.svc.cluster.local&port=80"]


def _refuse(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("All connection attempts failed", request=request)


AWAY: dict[str, tuple[Answer, str]] = {
    "no connection": (_refuse, "the prober at http://prober:8080 does not answer"),
    "its probe got no answer": (
        lambda _: httpx.Response(502),
        "the prober at http://prober:8080 got no answer to its probe",
    ),
    "it refuses": (
        lambda _: httpx.Response(422),
        "the prober at http://prober:8080 refused the question with HTTP 422",
    ),
    "somebody else answers": (
        lambda _: httpx.Response(200, text=json.dumps({"hello": 1})),
        "what answers at http://prober:8080 is no prober",
    ),
}


@pytest.mark.parametrize(("answer", "sentence"), AWAY.values(), ids=AWAY)
async def test_the_client_says_why_nothing_can_be_said(answer: Answer, sentence: str) -> None:
    with pytest.raises(TransientError) as away:
        await client(answer).ask("orders.shop.svc.cluster.local", 80)
    assert str(away.value) == sentence
