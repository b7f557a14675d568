"""What a rule of an IngressRoute leads to: Services, also through TraefikServices, and the same with forks in place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sidestream.kube.port import TRAEFIK_SERVICES, Object
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.ownership import is_ours
from sidestream.routing.providers.provider import Cluster
from sidestream.routing.table import Rule, Tenant

Reference = dict[str, Any]
"""What names a Service or TraefikService, with how requests go there, as IngressRoutes and TraefikServices have it."""

NOOP: Final[Reference] = {"kind": TRAEFIK_SERVICES.kind, "name": "noop@internal"}
"""Traefik's own service that does nothing, behind middlewares that answer by themselves."""

_OWN_SUFFIX: Final = "@kubernetescrd"
_MIRRORING_ONLY: Final = ("mirrors", "mirrorBody", "maxBodySize")
_MIRRORING: Final = "mirroring"


@dataclass(frozen=True, order=True)
class Place:
    """Namespace and name of a TraefikService."""

    namespace: str
    name: str

    def __str__(self) -> str:
        """Such as `shop/weighted`."""
        return f"{self.namespace}/{self.name}"


Changed = dict[Place, dict[str, Any]]
"""The `spec`s of TraefikServices of ours, by the place of the user's that each stands for."""


@dataclass(frozen=True)
class Backends:
    """The TraefikServices behind the rules of one IngressRoute, as `spec`s by place."""

    specs: Mapping[Place, dict[str, Any]] = field(default_factory=dict)
    domain: str = ""

    def reached_by(self, rule: Rule, namespace: str) -> frozenset[ServiceHost]:
        """The Services to which requests that match a rule in `namespace` may go; copies for mirrors do not count."""
        references = rule.get("services") or []
        shared = [item for item in references if len(references) == 1 or _weight(item) > 0]
        return frozenset(host for item in shared for host in self.reached(item, namespace))

    def forked(
        self, rule: Rule, namespace: str, tenant: Tenant, name_of: Callable[[Place], str]
    ) -> tuple[list[Reference], Changed]:
        """The rule's services with the tenant's forks, and the TraefikServices that differ for it.

        `name_of` is how a TraefikService of ours is called that stands for the user's.
        """
        changed: Changed = {}
        swap = _Swap(self, tenant, name_of, changed)
        return swap.all(rule.get("services") or [], namespace), changed

    def reached(
        self, reference: Reference, namespace: str, seen: frozenset[Place] = frozenset()
    ) -> Iterator[ServiceHost]:
        """The Services behind one reference that stands in `namespace`."""
        place = _place(reference, namespace)
        if not _is_traefik_service(reference):
            yield ServiceHost(place.namespace, place.name, self.domain)
            return
        spec = self.specs.get(place)
        if spec is None or place in seen:
            return
        for inner in _shares(spec):
            yield from self.reached(inner, place.namespace, seen | {place})


@dataclass(frozen=True)
class _Swap:
    """Puts one tenant's forks into references; what it must change of TraefikServices goes into `changed`."""

    backends: Backends
    tenant: Tenant
    name_of: Callable[[Place], str]
    changed: Changed

    def all(self, references: Sequence[Reference], namespace: str) -> list[Reference]:
        """The references of one balancer; those of weight 0 stay, for a fork without a pod would break the rest."""
        is_one = len(references) == 1
        return _merged([self(item, namespace) if is_one or _weight(item) > 0 else item for item in references])

    def __call__(self, reference: Reference, namespace: str) -> Reference:
        """One reference that stands in `namespace`."""
        if not any(self.tenant.fork_of(host) for host in self.backends.reached(reference, namespace)):
            return reference
        place = _place(reference, namespace)
        if not _is_traefik_service(reference):
            fork = self.tenant.fork_of(ServiceHost(place.namespace, place.name, self.backends.domain))
            return reference if fork is None else {**reference, "name": fork.name}
        spec = self.backends.specs[place]
        kind = _kind(spec)
        if kind == _MIRRORING:
            return self(_main(spec[kind], place.namespace, namespace, reference), namespace)
        if place not in self.changed:
            # first, so that a ring of TraefikServices ends here
            self.changed[place] = spec
            inner = self.all(spec[kind].get("services") or [], place.namespace)
            self.changed[place] = {**spec, kind: {**spec[kind], "services": inner}}
        return {**reference, "name": self.name_of(place)}


def backends_of(rules: Iterable[Rule], namespace: str, cluster: Cluster) -> tuple[Backends, list[str]]:
    """What stands behind rules, and the names of TraefikServices that cannot be looked into."""
    specs: dict[Place, dict[str, Any]] = {}
    opaque: list[str] = []
    waiting = [(item, namespace) for rule in rules for item in rule.get("services") or []]
    while waiting:
        reference, home = waiting.pop(0)
        if not _is_traefik_service(reference):
            continue
        place = _place(reference, home)
        if "@" in place.name:
            opaque += [] if place.name.endswith("@internal") else [place.name]
            continue
        found = cluster.get(TRAEFIK_SERVICES, place.namespace, place.name)
        if found is None or place in specs:
            continue
        specs[place] = found.get("spec") or {}
        if not _kind(specs[place]):
            opaque.append(str(place))
        waiting += [(item, place.namespace) for item in _shares(specs[place])]
    return Backends(specs, cluster.domain), opaque


def references_in(obj: Object) -> list[Reference]:
    """The references in an IngressRoute or a TraefikService, without those of mirrors."""
    spec = obj.get("spec") or {}
    return [item for rule in spec.get("routes") or [] for item in rule.get("services") or []] + _shares(spec)


def services_in(obj: Object, domain: str) -> frozenset[ServiceHost]:
    """The Services that an IngressRoute or a TraefikService itself names."""
    namespace = obj["metadata"]["namespace"]
    return frozenset(
        ServiceHost(place.namespace, place.name, domain)
        for item in references_in(obj)
        if not _is_traefik_service(item)
        for place in [_place(item, namespace)]
    )


def users_of(traefik_service: Object, cluster: Cluster) -> Iterator[Place]:
    """The TraefikServices through which others may come to this one, itself first."""
    metadata = traefik_service["metadata"]
    found = [Place(metadata["namespace"], metadata["name"])]
    others = [item for item in cluster.all(TRAEFIK_SERVICES) if not is_ours(item)]
    for place in found:
        yield place
        for other in others:
            inside = Place(other["metadata"]["namespace"], other["metadata"]["name"])
            if inside not in found and refers_to(other, place):
                found.append(inside)


def refers_to(obj: Object, place: Place) -> bool:
    """Whether an IngressRoute or a TraefikService refers to the TraefikService at `place`."""
    namespace = obj["metadata"]["namespace"]
    return any(_is_traefik_service(item) and _place(item, namespace) == place for item in references_in(obj))


def _is_traefik_service(reference: Reference) -> bool:
    return reference.get("kind") == TRAEFIK_SERVICES.kind


def _place(reference: Reference, namespace: str) -> Place:
    return Place(reference.get("namespace") or namespace, reference["name"].removesuffix(_OWN_SUFFIX))


def _kind(spec: Mapping[str, Any]) -> str:
    """Which of the kinds of TraefikService it is; empty when it is of none that is known."""
    return next((kind for kind in ("weighted", _MIRRORING, "highestRandomWeight") if spec.get(kind)), "")


def _shares(spec: Mapping[str, Any]) -> list[Reference]:
    """What a TraefikService hands requests on to; a balancer leaves out those of weight 0."""
    kind = _kind(spec)
    if kind == _MIRRORING:
        return [spec[kind]]
    return [item for item in (spec.get(kind) or {}).get("services") or [] if _weight(item) > 0]


def _main(mirroring: Reference, home: str, namespace: str, reference: Reference) -> Reference:
    """What is mirrored, for a rule in `namespace`: a tenant's requests are not for trials, so no copies are sent."""
    main = {key: value for key, value in mirroring.items() if key not in _MIRRORING_ONLY}
    away = {"namespace": home} if home != namespace else {}
    weight = {"weight": reference["weight"]} if "weight" in reference else {}
    return {**away, **main, **weight}


def _weight(reference: Reference) -> int:
    weight = reference.get("weight")
    return 1 if weight is None else int(weight)


def _merged(references: list[Reference]) -> list[Reference]:
    """References that have become equal are one, with the sum of their weights."""
    if len(references) == 1:
        return references
    merged: list[Reference] = []
    for reference in references:
        twin = next((item for item in merged if _without_weight(item) == _without_weight(reference)), None)
        if twin is None:
            merged.append(dict(reference))
        else:
            twin["weight"] = _weight(twin) + _weight(reference)
    return merged


def _without_weight(reference: Reference) -> Reference:
    return {key: value for key, value in reference.items() if key != "weight"}
