"""Proof that proxies use what was written: each is asked, through the mesh, for the hash of the rules that it has.

"The write returned 200" says nothing about proxies. So every written object answers one request itself, the probe that
calls it by name, and the prober, a pod of the mesh, sends it. Where no rule catches the probe (before the rules arrive,
and after they are gone) a user's pod gets it, and it must do no harm there: OPTIONS is a method that must change
nothing, on a path that no application serves and that the rules of gRPC can name as well.

A proxy answers with the hash in the body where its rules can say so, else by a redirect to a host name with it, or in a
header.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Protocol

import httpx
from pydantic import BaseModel, ValidationError

from sidestream.errors import TransientError
from sidestream.routing.entries import Door

PROBE_HEADER: Final = "x-sidestream-probe"
"""Its value is the name of the object that is asked for; in an answer it is what the body would be."""

PROBE_METHOD: Final = "OPTIONS"
PROBE_GRPC_SERVICE: Final = "sidestream.Probe"
PROBE_GRPC_METHOD: Final = "Ask"
PROBE_PATH: Final = f"/{PROBE_GRPC_SERVICE}/{PROBE_GRPC_METHOD}"
PROBE_DOMAIN: Final = "sidestream-probe.invalid"
"""Host names under it are nobody's (RFC 2606); a redirect there carries a hash, and is not followed."""

_ANSWER: Final = re.compile(r"sidestream-probe ([0-9a-f]{16,64})")
_REDIRECT: Final = re.compile(rf"(?:https?:)?//([0-9a-f]{{16,63}})\.{re.escape(PROBE_DOMAIN)}(?:[:/].*)?")
_ASK_SECONDS: Final = 5.0
_AT_ONCE: Final = 8
"""Questions under way at the same time: the prober and its proxy are small."""


def probe_answer(config_hash: str) -> str:
    """The body with which a proxy answers the probe."""
    return f"sidestream-probe {config_hash}"


def probe_host(config_hash: str) -> str:
    """The host name to which a proxy redirects the probe."""
    return f"{config_hash}.{PROBE_DOMAIN}"


def hash_told(headers: Mapping[str, str], body: str) -> str | None:
    """The hash in a probe's answer, whose headers are found in lower case; None when somebody else answered."""
    return hash_in(headers.get(PROBE_HEADER, "")) or hash_in_redirect(headers.get("location", "")) or hash_in(body)


def hash_in(body: str) -> str | None:
    """The hash in a probe's answer; None when somebody else answered, such as the baseline."""
    match = _ANSWER.fullmatch(body)
    return match.group(1) if match else None


def hash_in_redirect(location: str) -> str | None:
    """The hash in the `Location` of a probe's answer; None when it leads elsewhere."""
    match = _REDIRECT.fullmatch(location)
    return match.group(1) if match else None


class Prober(Protocol):
    """Asks proxies which rules they have."""

    async def ask(self, door: Door, name: str) -> tuple[str | None, ...]:
        """Send the probe for the object `name` to a door a few times, each over a connection of its own.

        Returns what each was answered with: a hash, or None where no proxy answered by itself.

        Raises:
            TransientError: nothing can be said, because the prober or its own proxy is away; the text is the end of a
                sentence and the same each time.
        """
        ...


class ProbeAnswers(BaseModel):
    """What the prober's HTTP API returns."""

    hashes: list[str | None]


class HttpProber:
    """Asks the prober at `url`. Each question is a new connection, so that several replicas take turns."""

    def __init__(self, url: str, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._url = url.rstrip("/")
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._client = httpx.AsyncClient(
            timeout=_ASK_SECONDS,
            # the question itself must not depend on a proxy that the environment names
            trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=0),
            transport=transport,
        )

    async def ask(self, door: Door, name: str) -> tuple[str | None, ...]:
        """See `Prober.ask`."""
        question: dict[str, str | int] = {"host": door.host, "port": door.port, "name": name}
        if door.is_gateway:
            question |= {"gateway": door.address, "tls": str(door.is_tls).lower()}
        try:
            async with self._turns:
                response = await self._client.get(f"{self._url}/probe", params=question)
        except httpx.HTTPError as error:
            raise TransientError(f"the prober at {self._url} does not answer") from error
        if response.status_code == httpx.codes.BAD_GATEWAY:
            raise TransientError(f"the prober at {self._url} got no answer to its probe")
        if response.status_code != httpx.codes.OK:
            raise TransientError(f"the prober at {self._url} refused the question with HTTP {response.status_code}")
        try:
            return tuple(ProbeAnswers.model_validate_json(response.content).hashes)
        except ValidationError as error:
            raise TransientError(f"what answers at {self._url} is no prober") from error

    async def close(self) -> None:
        """Give back what the client holds."""
        await self._client.aclose()


class Evidence(Enum):
    """What is known about the proxies."""

    PROVEN = auto()
    """Every answer shows the rules as written."""
    NOT_YET = auto()
    """Some proxy still has other rules."""
    UNKNOWN = auto()
    """Nobody could be asked."""


@dataclass(frozen=True)
class Proof:
    """The evidence; `why` ends a sentence for users when it is unknown."""

    evidence: Evidence
    why: str = ""


NO_PROBER: Final = Proof(Evidence.UNKNOWN, "no prober is configured")
NOT_ASKED: Final = Proof(Evidence.NOT_YET)


@dataclass(frozen=True)
class Claim:
    """What proxies are to confirm: at all these doors they have the object `name` with this hash, or none of it.

    Without doors nobody can be asked; `why_unprovable` says why, as the end of a sentence.
    """

    name: str
    config_hash: str | None
    doors: tuple[Door, ...]
    why_unprovable: str = ""


async def prove(claim: Claim, prober: Prober | None) -> Proof:
    """Ask once at every door."""
    if prober is None:
        return NO_PROBER
    if not claim.doors:
        return Proof(Evidence.UNKNOWN, claim.why_unprovable)
    try:
        answers = await asyncio.gather(*(prober.ask(door, claim.name) for door in claim.doors))
    except TransientError as error:
        return Proof(Evidence.UNKNOWN, str(error))
    is_proven = all(_confirms(hashes, claim.config_hash) for hashes in answers)
    return Proof(Evidence.PROVEN if is_proven else Evidence.NOT_YET)


def _confirms(hashes: Sequence[str | None], config_hash: str | None) -> bool:
    return bool(hashes) and all(item == config_hash for item in hashes)
