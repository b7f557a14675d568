"""When a configuration counts as proven, and what the prober's client makes of answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

import httpx
import pytest

from sidestream.errors import TransientError
from sidestream.routing.entries import Door
from sidestream.routing.proof import (
    PROBE_HEADER,
    Claim,
    Evidence,
    HttpProber,
    Proof,
    hash_in,
    hash_in_redirect,
    hash_told,
    probe_answer,
    probe_host,
    prove,
)

HASH = "0123456789abcdef0123"
OLD = "ffffffffffffffffffff"
NAME = "sidestream-orders"
HOST = "orders.shop.svc.cluster.local"
DOOR = Door(HOST, 80, HOST)


class ScriptedProber:
    """Answers each question with the next answer, the last one for ever."""

    def __init__(self, *answers: Iterable[str | None] | Exception) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[Door, str]] = []

    async def ask(self, door: Door, name: str) -> tuple[str | None, ...]:
        self.asked.append((door, name))
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


def claim(*doors: Door, config_hash: str | None = HASH) -> Claim:
    return Claim(NAME, config_hash, doors or (DOOR,), "nobody comes there")


@pytest.mark.parametrize(("hashes", "wanted", "evidence"), CASES.values(), ids=CASES)
async def test_a_claim_is_proven_by_every_answer(
    hashes: Iterable[str | None], wanted: str | None, evidence: Evidence
) -> None:
    assert await prove(claim(config_hash=wanted), ScriptedProber(hashes)) == Proof(evidence)


async def test_every_door_must_answer_to_the_name() -> None:
    other = Door(HOST, 81, HOST)
    prober = ScriptedProber([HASH], [OLD])
    assert (await prove(claim(DOOR, other), prober)).evidence is Evidence.NOT_YET
    assert prober.asked == [(DOOR, NAME), (other, NAME)]


async def test_without_a_prober_nothing_is_known() -> None:
    assert await prove(claim(), None) == Proof(Evidence.UNKNOWN, "no prober is configured")


async def test_without_a_door_nothing_is_known_and_the_claim_says_why() -> None:
    prober = ScriptedProber([HASH])
    unprovable = Claim(NAME, HASH, (), "nobody comes there")
    assert await prove(unprovable, prober) == Proof(Evidence.UNKNOWN, "nobody comes there")
    assert prober.asked == []


async def test_a_prober_that_is_away_proves_nothing() -> None:
    prober = ScriptedProber(TransientError("the prober is away"))
    assert await prove(claim(), prober) == Proof(Evidence.UNKNOWN, "the prober is away")


def test_only_a_proxys_answer_carries_a_hash() -> None:
    assert hash_in(probe_answer(HASH)) == HASH
    assert hash_in("<html>not found</html>") is None
    assert hash_in(f"{probe_answer(HASH)} and more") is None


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({PROBE_HEADER: probe_answer(HASH)}, ""),
        ({"location": f"http://{probe_host(HASH)}/"}, "Found"),
        ({PROBE_HEADER: "sidestream-orders", "location": "/"}, probe_answer(HASH)),
    ],
    ids=["in a header", "in a redirect", "in the body"],
)
def test_it_may_be_wherever_rules_can_put_it(headers: dict[str, str], body: str) -> None:
    assert hash_told(headers, body) == HASH


def test_who_answers_with_what_was_asked_is_no_proxy() -> None:
    assert hash_told({PROBE_HEADER: "sidestream-orders"}, "") is None


@pytest.mark.parametrize("rest", ["", "/", ":8080/x", "/sidestream.Probe/Ask"])
@pytest.mark.parametrize("scheme", ["http:", "https:", ""])
def test_so_does_a_redirect_to_a_name_that_is_nobodys(scheme: str, rest: str) -> None:
    assert hash_in_redirect(f"{scheme}//{probe_host(HASH)}{rest}") == HASH


@pytest.mark.parametrize(
    "location",
    [
        "",
        "/login",
        "https://example.com/",
        f"http://{HASH}.example.com/",
        f"http://{probe_host(HASH)}.example.com/",
        f"http://www.{probe_host(HASH)}/",
        f"http://{HASH}.sidestream-probe-invalid/",
    ],
)
def test_a_redirect_elsewhere_is_somebody_elses(location: str) -> None:
    assert hash_in_redirect(location) is None


# --- the client

Answer = Callable[[httpx.Request], httpx.Response]


def client(answer: Answer) -> HttpProber:
    return HttpProber("http://prober:8080/", transport=httpx.MockTransport(answer))


QUESTIONS: dict[str, tuple[Door, dict[str, str]]] = {
    "in the mesh": (DOOR, {"host": HOST, "port": "80", "name": NAME}),
    "at a gateway": (
        Door("gw.web.svc.cluster.local", 8080, "shop.example.com", is_gateway=True),
        {
            "host": "shop.example.com",
            "port": "8080",
            "name": NAME,
            "gateway": "gw.web.svc.cluster.local",
            "tls": "false",
        },
    ),
    "at a gateway by TLS": (
        Door("gw.web.svc.cluster.local", 443, "shop.example.com", is_gateway=True, is_tls=True),
        {
            "host": "shop.example.com",
            "port": "443",
            "name": NAME,
            "gateway": "gw.web.svc.cluster.local",
            "tls": "true",
        },
    ),
}


@pytest.mark.parametrize(("door", "question"), QUESTIONS.values(), ids=QUESTIONS)
async def test_the_client_asks_for_the_object_at_the_door(door: Door, question: dict[str, str]) -> None:
    asked: list[httpx.URL] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        return httpx.Response(200, json={"hashes": [HASH, None]})

    assert await client(answer).ask(door, NAME) == (HASH, None)
    assert [(str(url.copy_with(query=None)), dict(url.params)) for url in asked] == [
        ("http://prober:8080/probe", question)
    ]


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
        await client(answer).ask(DOOR, NAME)
    assert str(away.value) == sentence
