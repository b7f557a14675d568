"""The property of the clone algorithm over the wire: a tenant's request is decided as anybody's, with its forks.

Many sets of users' routes are written at once, each for a Service of its own, so that one wait serves all of them. The
same requests are then asked without tenants' routes, with them as the provider renders them, and without them again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from flow.cluster import until
from flow.wire.asking import GRPC, HTTP1, HTTP2, Ask, Line, Told
from flow.wire.peers import GRPC_PORT, HTTP2_PORT, HTTP_PORT, Peers
from flow.wire.proving import Proofs
from sidestream.kube.port import Object, Resource
from sidestream.routing.entries import EntryKey
from sidestream.routing.providers.provider import Provider
from sidestream.routing.table import Tenant
from untouched import GITOPS, Snapshot, reapplied

EFFECTIVE_PATH = "/.well-known/effective"
"""Where rules of users say that the proxies have them."""

SET_BY_ROUTES = frozenset({"x-variant", "x-a", "x-c", "x-rule", "location"})
"""Headers that routes of the tests set."""

TAGS: Mapping[str, tuple[tuple[Line, ...], ...]] = {
    "": ((), (("baggage", "a=b"),), (("baggage", "tenant=carol"),)),
    "alice": ((("baggage", "a=b, tenant = alice;p=1"),), (("baggage", "a=b"), ("baggage", "tenant=alice"))),
    "bob": ((("baggage", "tenant=bob,a=b"),),),
}
"""How requests name their tenant; "" for those that name nobody, or nobody who has a fork."""


@dataclass(frozen=True)
class RouteSet:
    """A user's routes for one host, and what is asked of it.

    `entries` are those that the provider writes for; `users` are the manifests. `effective` are requests that tell that
    the proxies have them: rules answer with `x-rule: effective`, or the echo shows that it was asked with this header.
    `forks` says for each tenant's key who answers for it in whose place.
    """

    name: str
    entries: tuple[EntryKey, ...]
    users: tuple[tuple[Resource, Object], ...]
    tenants: tuple[Tenant, ...]
    forks: Mapping[str, Mapping[str, str]]
    asks: tuple[Ask, ...]
    effective: tuple[Ask, ...] = ()

    def cases(self) -> Iterator[tuple[str, Ask]]:
        """Every request of every tenant and of nobody."""
        for ask, key in product(self.asks, TAGS):
            for lines in TAGS[key]:
                yield key, ask.plus(*lines)

    def deserved(self, key: str, before: Decision) -> Decision:
        """What a tenant's request is to meet that met `before` without routes for tenants."""
        return replace(before, who=self.forks.get(key, {}).get(before.who or "", before.who))


@dataclass(frozen=True)
class Decision:
    """What became of a request, as far as routes decide it."""

    status: int
    who: str | None
    path: str
    seen: tuple[Line, ...]
    headers: tuple[Line, ...]
    error: str

    @classmethod
    def of(cls, told: Told) -> Decision:
        """The headers are those that the tests' routes set."""
        seen = [(name, value) for name, values in told.seen.items() for value in values if name in SET_BY_ROUTES]
        headers = [(name, value) for name, value in told.headers.items() if name in SET_BY_ROUTES]
        return cls(told.status, told.who, told.path, tuple(sorted(seen)), tuple(sorted(headers)), told.error)


@dataclass(frozen=True)
class Trial:
    """Sets of users' routes that one provider carries."""

    peers: Peers
    provider: Provider
    sets: Sequence[RouteSet]

    async def run(self) -> int:
        """Try all sets; returns how many decisions were compared.

        Raises:
            AssertionError: a request was not decided as it should be, or a user's object was touched; tells all of it.
        """
        await self.write_users()
        users = await self._users()
        before = await self.decisions()
        proofs = Proofs(self.peers)
        written = await proofs.write(self.provider, [(key, one.tenants) for one in self.sets for key in one.entries])
        during = await self.decisions()
        left = Snapshot.of(users).differences(await self._users())
        left += await reapplied(self.peers.api, [item for one in self.sets for item in one.users])
        await proofs.delete(written)
        after = await self.decisions()
        wrong = [*left, *self._wrong(before, during), *self._unlike(before, after)]
        assert not wrong, "\n".join([f"{len(wrong)} wrong:", *wrong[:20]])
        return sum(len(decided) for decided in during)

    async def write_users(self) -> None:
        """Write the users' routes and wait until the proxies have them."""
        for one in self.sets:
            for resource, manifest in one.users:
                await self.peers.api.apply(resource, manifest, manager=GITOPS)
        asks = [ask for one in self.sets for ask in one.effective]

        async def are_effective() -> bool:
            answers = await self.peers.ask(asks)
            return all(
                told.headers.get("x-rule", "".join(told.seen.get("x-rule", ()))) == "effective" for told in answers
            )

        await until(are_effective, "the proxies have all of the users' routes")

    async def decisions(self) -> list[list[Decision]]:
        """What becomes of every case of every set."""
        asks = [[ask for _, ask in one.cases()] for one in self.sets]
        answers = iter(await self.peers.ask([ask for some in asks for ask in some]))
        return [[Decision.of(next(answers)) for _ in some] for some in asks]

    async def _users(self) -> list[Object]:
        manifests = [item for one in self.sets for item in one.users]
        found = [await self.peers.api.get(resource, *_place(manifest)) for resource, manifest in manifests]
        return [obj for obj in found if obj is not None]

    def _wrong(self, before: Sequence[Sequence[Decision]], during: Sequence[Sequence[Decision]]) -> Iterator[str]:
        for one, olds, news in zip(self.sets, before, during, strict=True):
            for (key, ask), old, new in zip(one.cases(), olds, news, strict=True):
                if old.error or new != (deserved := one.deserved(key, old)):
                    yield f"{one.name} {ask}: {new}, and without routes for tenants {old}, so it should be {deserved}"

    def _unlike(self, before: Sequence[Sequence[Decision]], after: Sequence[Sequence[Decision]]) -> Iterator[str]:
        for one, olds, news in zip(self.sets, before, after, strict=True):
            for (_, ask), old, new in zip(one.cases(), olds, news, strict=True):
                if old != new:
                    yield f"{one.name} {ask}: {new} after the routes for tenants went, and {old} before they came"


def _place(manifest: Object) -> tuple[str, str]:
    return manifest["metadata"].get("namespace", ""), manifest["metadata"]["name"]


def arriving_at(host: str) -> tuple[Ask, ...]:
    """What is effective where users have no rules: requests that arrive, at every port of the Service."""
    lines = (("x-rule", "effective"),)
    ports = {HTTP_PORT: HTTP1, HTTP2_PORT: HTTP2, GRPC_PORT: GRPC}
    return tuple(Ask(host, headers=lines, protocol=protocol, port=port) for port, protocol in ports.items())
