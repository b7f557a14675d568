"""A small model of what Traefik 3 does with IngressRoutes and Ingresses, after its source, to judge ours against.

It shares no code with the package: rules are read by Python's own parser, regular expressions by Python's engine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

DEFAULT_ENTRY_POINTS = ("web", "websecure", "internal")
UNANSWERED = "not found"
REFUSED = 503

_STRING = re.compile(r'`[^`]*`|"(?:[^"\\]|\\.)*"')


@dataclass(frozen=True)
class Request:
    path: str = "/"
    host: str = "shop.example.com"
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    query: tuple[tuple[str, str], ...] = ()
    entry_point: str = "web"
    is_tls: bool = False

    def with_headers(self, headers: Iterable[tuple[str, str]]) -> Request:
        merged = (*self.headers, *headers)
        return Request(self.path, self.host, self.method, merged, self.query, self.entry_point, self.is_tls)


@dataclass(frozen=True)
class Decision:
    """What becomes of a request. `owner` is the IngressRoute that took it, `shares` what it goes to, `rest` how.

    An Ingress is called `Ingress <namespace>/<name>`.
    """

    owner: str
    shares: frozenset[tuple[str, Fraction]]
    rest: str
    answer: int | str | None = None


def decide(objects: Sequence[dict[str, Any]], request: Request, down: frozenset[str] = frozenset()) -> set[Decision]:
    """Every decision that Traefik may come to: of rules of the same priority it takes any.

    `down` are the Services (`namespace/name`) without a ready pod.
    """
    world = _World(objects, down)
    matching = [router for router in world.routers() if world.matches(router, request)]
    if not matching:
        return {Decision("", frozenset(), "", UNANSWERED)}
    highest = max(router.priority for router in matching)
    return {world.decision(router) for router in matching if router.priority == highest}


def with_forks(decision: Decision, forks: dict[str, str], down: frozenset[str] = frozenset()) -> Decision:
    """The decision that a tenant deserves: a fork (`namespace/name`) for each Service that it has forked.

    Copies to mirrors are not sent on the way to a fork; without a ready pod of it the request is refused.
    """
    leaves = [(json.loads(text), share) for text, share in decision.shares]
    forked = [leaf for leaf, _ in leaves if leaf["service"] in forks]
    if any(forks[leaf["service"]] in down for leaf in forked):
        return Decision("", frozenset(), "", REFUSED)
    mirrored = [step["at"] for leaf in forked for step in leaf["way"] if step["kind"] == "mirroring"]
    shares: dict[str, Fraction] = {}
    for leaf, share in leaves:
        way = [step for step in leaf["way"] if step["kind"] != "mirroring" or step["at"] not in mirrored]
        service = forks.get(leaf["service"], leaf["service"])
        _add(shares, {**leaf, "way": way, "service": service}, share)
    return Decision(decision.owner, frozenset(shares.items()), decision.rest, decision.answer)


def anonymous(decision: Decision) -> Decision:
    """The decision without who took it, and without where balancers and mirrors are kept."""
    shares: dict[str, Fraction] = {}
    for text, share in decision.shares:
        leaf = json.loads(text)
        way = [{key: value for key, value in step.items() if key != "at"} for step in leaf["way"]]
        _add(shares, {**leaf, "way": way}, share)
    return Decision("", frozenset(shares.items()), decision.rest, decision.answer)


@dataclass(frozen=True)
class _Router:
    owner: str
    namespace: str
    entry_points: tuple[str, ...]
    is_tls: bool
    rule: str
    priority: int
    route: dict[str, Any]


class _World:
    def __init__(self, objects: Sequence[dict[str, Any]], down: frozenset[str]) -> None:
        self._down = down
        self._by_kind: dict[str, dict[str, dict[str, Any]]] = {}
        for obj in objects:
            metadata = obj["metadata"]
            self._by_kind.setdefault(obj["kind"], {})[f"{metadata['namespace']}/{metadata['name']}"] = obj

    def routers(self) -> Iterator[_Router]:
        """One for each text of a rule in an IngressRoute: of two with the same text the later one stands."""
        for owner, obj in self._by_kind.get("IngressRoute", {}).items():
            spec, namespace = obj["spec"], obj["metadata"]["namespace"]
            standing: dict[str, _Router] = {}
            for route in spec["routes"]:
                rule = route["match"]
                if not self._is_usable(route, namespace):
                    continue
                standing[rule] = _Router(
                    owner,
                    namespace,
                    tuple(spec.get("entryPoints") or DEFAULT_ENTRY_POINTS),
                    spec.get("tls") is not None,
                    rule,
                    route.get("priority") or len(rule.encode()),
                    route,
                )
            yield from standing.values()
        for owner, obj in self._by_kind.get("Ingress", {}).items():
            yield from self._ingress_routers(f"Ingress {owner}", obj)

    def _ingress_routers(self, owner: str, obj: dict[str, Any]) -> Iterator[_Router]:
        annotations, namespace = obj["metadata"].get("annotations", {}), obj["metadata"]["namespace"]
        if annotations.get("kubernetes.io/ingress.class", "traefik") != "traefik":
            return
        about = "traefik.ingress.kubernetes.io/router."
        listed = annotations.get(f"{about}entrypoints")
        for rule in obj["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                matcher = "Path" if path["pathType"] == "Exact" else "PathPrefix"
                host = f'Host("{rule["host"]}")' if "host" in rule else ""
                text = " && ".join(filter(None, [host, f'{matcher}("{path["path"]}")' if "path" in path else ""]))
                service = path["backend"]["service"]
                route = {"match": text, "services": [{"name": service["name"], "port": service["port"]["number"]}]}
                if text and self._is_usable(route, namespace):
                    yield _Router(
                        owner,
                        namespace,
                        tuple(listed.split(",")) if listed else DEFAULT_ENTRY_POINTS,
                        annotations.get(f"{about}tls") == "true",
                        text,
                        int(annotations.get(f"{about}priority", 0)) or len(text.encode()),
                        route,
                    )

    def matches(self, router: _Router, request: Request) -> bool:
        at_its_doors = request.entry_point in router.entry_points and request.is_tls == router.is_tls
        return at_its_doors and holds(router.rule, request)

    def decision(self, router: _Router) -> Decision:
        for reference in router.route.get("middlewares") or []:
            namespace = reference.get("namespace", router.namespace)
            spec = self._by_kind.get("Middleware", {}).get(f"{namespace}/{reference['name']}", {}).get("spec", {})
            if spec.get("ipAllowList", {}).get("sourceRange") == ["255.255.255.255/32"]:
                return Decision("", frozenset(), "", spec["ipAllowList"]["rejectStatusCode"])
            if "redirectRegex" in spec:
                return Decision("", frozenset(), "", spec["redirectRegex"]["replacement"])
        shares: dict[str, Fraction] = {}
        references = router.route["services"]
        for reference, share in _shared(references) if len(references) > 1 else [(references[0], Fraction(1))]:
            for leaf, part in self._leaves(reference, router.namespace, share, ()):
                _add(shares, leaf, part)
        rest = {
            key: value for key, value in router.route.items() if key not in ("match", "priority", "kind", "services")
        }
        return Decision(router.owner, frozenset(shares.items()), json.dumps(rest, sort_keys=True))

    def _leaves(
        self, reference: dict[str, Any], namespace: str, share: Fraction, way: tuple[dict[str, Any], ...]
    ) -> Iterator[tuple[dict[str, Any], Fraction]]:
        place = f"{reference.get('namespace') or namespace}/{reference['name']}"
        if reference.get("kind") != "TraefikService":
            how = {key: value for key, value in reference.items() if key not in ("name", "namespace", "kind", "weight")}
            yield {"service": place, "how": how, "way": way}, share
            return
        if reference["name"].endswith("@internal"):
            yield {"service": reference["name"], "how": {}, "way": way}, share
            return
        spec, home = self._by_kind["TraefikService"][place]["spec"], place.partition("/")[0]
        (kind,) = spec
        if kind == "mirroring":
            about = {key: spec[kind][key] for key in ("mirrors", "mirrorBody", "maxBodySize") if key in spec[kind]}
            step = {"kind": kind, "at": place, "about": about}
            main = {key: value for key, value in spec[kind].items() if key not in about}
            yield from self._leaves(main, home, share, (*way, step))
            return
        about = {key: value for key, value in spec[kind].items() if key != "services"}
        step = {"kind": kind, "at": place, "about": about}
        for inner, part in _shared(spec[kind]["services"]):
            yield from self._leaves(inner, home, share * part, (*way, step))

    def _is_usable(self, route: dict[str, Any], namespace: str) -> bool:
        """A router that leads to a Service without a ready pod is left out, and so is one without its Middlewares."""
        needed = [f"{item.get('namespace', namespace)}/{item['name']}" for item in route.get("middlewares") or []]
        ours = [name for name in needed if "/sidestream-" in name]
        if any(name not in self._by_kind.get("Middleware", {}) for name in ours):
            return False
        return all(self._is_up(reference, namespace) for reference in route.get("services") or [])

    def _is_up(self, reference: dict[str, Any], namespace: str) -> bool:
        place = f"{reference.get('namespace') or namespace}/{reference['name']}"
        if reference.get("kind") != "TraefikService":
            return place not in self._down
        if reference["name"].endswith("@internal"):
            return True
        found = self._by_kind.get("TraefikService", {}).get(place)
        if found is None:
            return False
        home = place.partition("/")[0]
        ((kind, body),) = found["spec"].items()
        inner = [body, *body.get("mirrors", [])] if kind == "mirroring" else body["services"]
        return all(self._is_up(item, home) for item in inner)


def _shared(references: Sequence[dict[str, Any]]) -> list[tuple[dict[str, Any], Fraction]]:
    weights = [1 if item.get("weight") is None else item["weight"] for item in references]
    return [(item, Fraction(weight, sum(weights))) for item, weight in zip(references, weights, strict=True) if weight]


def _add(shares: dict[str, Fraction], leaf: dict[str, Any], share: Fraction) -> None:
    key = json.dumps(leaf, sort_keys=True)
    shares[key] = shares.get(key, Fraction(0)) + share


def holds(rule: str, request: Request) -> bool:
    """Python reads the rule: its operators have the same precedence, and Go's strings become its own."""
    outside = _STRING.split(rule)
    strings = [repr(text[1:-1]) if text.startswith("`") else text for text in _STRING.findall(rule)]
    operators = [part.replace("&&", " and ").replace("||", " or ").replace("!", " not ") for part in outside]
    pieces = [piece for pair in zip(operators, [*strings, ""], strict=True) for piece in pair]
    return bool(eval("".join(pieces).strip().replace("\n", " "), {}, _conditions(request)))  # noqa: S307


def _conditions(request: Request) -> dict[str, Any]:
    def values(name: str) -> list[str]:
        return [value for key, value in request.headers if key.lower() == name.lower()]

    def queried(name: str) -> list[str]:
        return [value for key, value in request.query if key == name]

    conditions = {
        "Host": lambda host: request.host == host.lower().removesuffix("."),
        "HostRegexp": lambda pattern: bool(re.search(pattern, request.host)),
        "Path": lambda path: request.path == path,
        "PathPrefix": request.path.startswith,
        "PathRegexp": lambda pattern: bool(re.search(pattern, request.path)),
        "Method": lambda method: request.method == method.upper(),
        "Header": lambda name, value: value in values(name),
        "HeaderRegexp": lambda name, pattern: any(re.search(pattern, value) for value in values(name)),
        "Query": lambda name, value="": value in queried(name),
        "QueryRegexp": lambda name, pattern: any(re.search(pattern, value) for value in queried(name)),
    }
    return conditions | {name.lower(): found for name, found in conditions.items()}
