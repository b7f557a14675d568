"""What previews at gateways of all kinds have in common: what is asked for, of which host, how requests are marked.

A request to a preview is its Sandbox's tenant's, whatever it says itself: a member that names a tenant would come to
the Services behind beside the preview's, and which of two is meant hangs on their names. So baggage with such a member
is replaced, and other baggage keeps all of its members.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from sidestream.api.conditions import Reason
from sidestream.api.sandbox import Preview
from sidestream.config import HeaderMode, HeaderSettings
from sidestream.errors import InvalidInputError
from sidestream.kube.port import SANDBOXES, Object, Resource
from sidestream.routing.entries import EntryKey, EntryKind
from sidestream.routing.headers import BAGGAGE, HeaderMatch, MatchKind, baggage_naming
from sidestream.routing.providers.provider import Cluster, Provider

ANY_HOST: Final = ""
"""Stands for all hosts: users have rules that ask for none."""

ADDRESS: Final = "address"
"""Key in the `place` of a preview's entry: where browsers find it, such as `https://alice.preview.example.com`."""

TENANT: Final = "tenant"
"""Key in the `place` of a preview's entry: the routing key of its Sandbox."""

PORTS: Final = {False: 80, True: 443}
"""The usual ports, without TLS and with it."""


class PreviewCarrier(Provider):
    """What is the same of all providers of previews: which objects matter to one follows from its Sandbox."""

    carries: Final = frozenset({EntryKind.PREVIEW})
    reads: Final[tuple[Resource, ...]] = ()

    def entries_of(self, obj: Object, cluster: Cluster) -> Iterable[EntryKey]:
        """None; see `Provider.entries_of`."""
        del obj, cluster
        return ()


@dataclass(frozen=True)
class Asked:
    """A preview as a Sandbox asks for it; `namespace` is the gateway's."""

    key: EntryKey
    tenant: str
    namespace: str
    name: str
    host: str
    of: str | None

    @property
    def gateway(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class Marking:
    """How requests are made the tenant's: those that meet `naming` (None: all others) get headers set and added to."""

    naming: HeaderMatch | None
    set: Mapping[str, str] = field(default_factory=dict)
    add: Mapping[str, str] = field(default_factory=dict)


def asked(key: EntryKey, cluster: Cluster, kind: str) -> Asked | None:
    """What the Sandbox asks for at a gateway of this kind; None when it asks for nothing there."""
    raw = cluster.get(SANDBOXES, key.namespace, key.name) if key.kind is EntryKind.PREVIEW else None
    if raw is None or raw["spec"].get("preview") is None:
        return None
    wanted = Preview.model_validate(raw["spec"]["preview"])
    if wanted.gateway.kind != kind:
        return None
    return Asked(
        key=key,
        tenant=raw["spec"].get("routingKey") or key.name,
        namespace=wanted.gateway.namespace or key.namespace,
        name=wanted.gateway.name,
        host=wanted.host,
        of=wanted.of,
    )


def markings(header: HeaderSettings, tenant: str) -> tuple[Marking, ...]:
    """The ways to mark a request, of which it meets one; where there are two, the first is tried first."""
    by_name = {} if header.mode is HeaderMode.BAGGAGE else {header.name.lower(): tenant}
    if header.mode is HeaderMode.EXACT:
        return (Marking(None, set=by_name),)
    member = f"{header.baggage_keys[0]}={tenant}"
    naming = HeaderMatch(BAGGAGE, MatchKind.REGEX, baggage_naming(header.baggage_keys))
    return (
        Marking(naming, set={**by_name, BAGGAGE: member}),
        Marking(None, set=by_name, add={BAGGAGE: member}),
    )


def refuse_a_used_host(preview: Asked, used: Iterable[tuple[str, str]]) -> None:
    """Refuse a host for which users have rules, by name or by a wildcard; `used` are hosts, each with its object.

    Rules for all hosts do not count: they make no claim to this one.

    Raises:
        InvalidInputError: there is such an object.
    """
    for host, subject in used:
        if host not in (ANY_HOST, "*") and covers(host, preview.host):
            how = "" if host == preview.host else f" by {host}"
            raise conflict(f"{subject} has rules for host {preview.host}{how}; choose a host that nobody has rules for")


def users_host(preview: Asked, found: Collection[str], where: str) -> str:
    """The host whose rules hold for the preview; `found` are those for which users have rules at `where`.

    Raises:
        InvalidInputError: there is none, or it is not clear which.
    """
    if not found:
        raise conflict(f"Nobody has rules at {where} of which a preview could be made; write a route there first")
    if preview.of is not None:
        if any(host == ANY_HOST or covers(host, preview.of) for host in found):
            return preview.of
        raise conflict(f"Nobody has rules for host {preview.of} at {where}; hosts there are {_listed(found)}")
    if len(found) > 1:
        raise conflict(f"There are rules for several hosts at {where}: {_listed(found)}; name one in spec.preview.of")
    (only,) = found
    if only.startswith("*."):
        raise conflict(f"The rules at {where} are for {only}; name a host that it covers in spec.preview.of")
    return only


def covers(wide: str, narrow: str) -> bool:
    """Whether `wide`, a host or a wildcard, is or covers host `narrow`."""
    if wide.startswith("*"):
        return narrow.endswith(wide[1:]) and narrow != wide[1:]
    return wide == narrow


def address_of(host: str, ports: Iterable[tuple[int, bool]]) -> str:
    """Where browsers find the host, given the ports and whether each is for TLS, which is preferred."""
    found = sorted(ports, key=lambda item: (not item[1], item[0] != PORTS[item[1]], item[0]))
    if not found:
        return ""
    port, is_tls = found[0]
    return f"{'https' if is_tls else 'http'}://{host}" + ("" if port == PORTS[is_tls] else f":{port}")


def conflict(message: str) -> InvalidInputError:
    """The refusal with this sentence."""
    return InvalidInputError(Reason.ROUTE_CONFLICT, message)


def not_served(api: str) -> InvalidInputError:
    """The refusal where the cluster does not have the kind of gateway."""
    return InvalidInputError(
        Reason.MESH_NOT_FOUND, f"The cluster does not serve {api}, so it can have no preview there"
    )


def _listed(hosts: Collection[str]) -> str:
    return ", ".join(sorted(host or "any" for host in hosts))
