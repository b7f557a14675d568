"""What only tests of routes at Traefik speak of: users' objects, and at random what users write and callers send.

Rules lead to `orders` and `inventory`, which tenants fork, and elsewhere.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from builders import Modifier, thing
from sidestream.config import HeaderMode
from sidestream.kube.port import INGRESS_ROUTES, INGRESSES, SERVICES, TRAEFIK_SERVICES, Object
from unit.routing.traefik_model import Request

Lines = list[tuple[str, str]]

HEADERS_OF_ALICE: dict[HeaderMode, list[Lines]] = {
    HeaderMode.BAGGAGE: [
        [("baggage", "tenant=alice")],
        [("Baggage", "a=b, tenant = alice;p=1,c=d")],
        [("baggage", "a=b"), ("baggage", "tenant=alice")],
    ],
    HeaderMode.EXACT: [[("x-tenant-id", "alice")], [("X-Tenant-Id", "bystander"), ("X-Tenant-Id", "alice")]],
    HeaderMode.BOTH: [[("baggage", "a=b,tenant=alice")], [("x-tenant-id", "alice")]],
}
HEADERS_OF_OTHERS: list[Lines] = [
    [],
    [("baggage", "a=b")],
    [("baggage", "tenant=carol")],
    [("baggage", "tenant=alice2")],
    [("baggage", "xtenant=alice")],
    [("baggage", "Tenant=alice")],
    [("baggage", "tenant=al%69ce")],
    [("baggage", "a=b;tenant=alice")],
    [("x-tenant-id", "carol")],
]


def ingress_route(name: str, *routes: dict[str, Any], modify: Modifier | None = None, **spec: Any) -> Object:
    """A user's IngressRoute in namespace `shop`; `spec` adds to it."""
    obj = thing(INGRESS_ROUTES, name, {"spec": {"entryPoints": ["web"], "routes": list(routes), **spec}})
    if modify is not None:
        modify(obj)
    return obj


def route(match: str, *services: Any, **fields: Any) -> dict[str, Any]:
    """One rule; a service that is given as a name is that Service, on port 80."""
    references = [{"name": item, "port": 80} if isinstance(item, str) else item for item in services]
    return {"kind": "Rule", "match": match, "services": references, **fields}


def ingress(name: str, *rules: dict[str, Any], class_name: str = "", **annotations: str) -> Object:
    """A user's Ingress in namespace `shop`; annotations are those about routers, and `ingress_class`."""
    spec = {"rules": list(rules), **({"ingressClassName": class_name} if class_name else {})}
    obj = thing(INGRESSES, name, {"spec": spec})
    by_class = annotations.pop("ingress_class", None)
    named = {f"traefik.ingress.kubernetes.io/router.{key}": value for key, value in annotations.items()}
    obj["metadata"]["annotations"] = named | ({} if by_class is None else {"kubernetes.io/ingress.class": by_class})
    return obj


def ingress_rule(*paths: dict[str, Any], host: str = "") -> dict[str, Any]:
    """One rule of an Ingress."""
    return {**({"host": host} if host else {}), "http": {"paths": list(paths)}}


def ingress_path(path: str = "", kind: str = "Prefix", to: str = "rival") -> dict[str, Any]:
    """One path of an Ingress to port 80 of a Service."""
    backend = {"service": {"name": to, "port": {"number": 80}}}
    return {**({"path": path} if path else {}), "pathType": kind, "backend": backend}


def traefik_service(name: str, **spec: Any) -> Object:
    return thing(TRAEFIK_SERVICES, name, {"spec": spec})


def through(name: str, **fields: Any) -> dict[str, Any]:
    """A reference to a TraefikService."""
    return {"kind": "TraefikService", "name": name, **fields}


def traefik(*ports: tuple[str, int], modify: Modifier | None = None) -> Object:
    """The Service of a Traefik in namespace `traefik`, with these entry points."""
    found = [{"name": name, "port": port, "protocol": "TCP"} for name, port in ports or [("web", 80)]]
    body = {"spec": {"type": "LoadBalancer", "ports": found}}
    obj = thing(SERVICES, "traefik", body)
    obj["metadata"] |= {"namespace": "traefik", "labels": {"app.kubernetes.io/name": "traefik"}}
    if modify is not None:
        modify(obj)
    return obj


# --- what users write

_conditions = st.sampled_from(
    [
        "Host(`shop.example.com`)",
        'Host("SHOP.example.com")',
        "host(`api.example.com`)",
        "HostRegexp(`^[a-z]+\\.example\\.com$`)",
        "PathPrefix(`/`)",
        "PathPrefix(`/api`)",
        "Path(`/api`)",
        "PathRegexp(`^/a.*1$`)",
        "Method(`get`)",
        "Header(`x-beta`, `1`)",
        "HeaderRegexp(`X-Beta`, `[0-9]`)",
        "Query(`v`, `1`)",
        "HeaderRegexp(`baggage`, `debug=1`)",
        "Header(`x-tenant-id`, `alice`)",
    ]
)


def _joined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("{} && {}".format, inner, inner),
        st.builds("({} || {})".format, inner, inner),
        st.builds("{}||{}".format, inner, inner),
        st.builds("!({})".format, inner),
        st.builds("!{}".format, _conditions),
        st.builds("( {} )\n".format, inner).map(str.rstrip),
    )


matches = st.recursive(_conditions, _joined, max_leaves=4)
_forked_or_not = st.sampled_from(["orders", "inventory", "ledger"])
_plain = st.fixed_dictionaries(
    {"name": _forked_or_not, "port": st.sampled_from([80, "http"])},
    optional={
        "kind": st.just("Service"),
        "namespace": st.sampled_from(["shop", "billing"]),
        "sticky": st.just({"cookie": {"name": "lb"}}),
        "scheme": st.just("h2c"),
        "aFieldOfTheFuture": st.just({"deep": [1]}),
    },
)
_traefik_services = st.sampled_from(["weighted", "nested", "mirroring", "hashed"]).map(through)
_one = st.one_of(_plain, _plain, _traefik_services)


def _weighted(references: list[dict[str, Any]], weights: list[int]) -> list[dict[str, Any]]:
    if len(references) == 1:
        return references
    weights = weights if any(weights[: len(references)]) else [1, *weights[1:]]
    return [{**item, "weight": weight} for item, weight in zip(references, weights, strict=False)]


_weights = st.lists(st.sampled_from([0, 1, 3]), min_size=3, max_size=3)
_services = st.builds(_weighted, st.lists(_one, min_size=1, max_size=3), _weights)
_lonely = st.just([{"name": "lonely", "port": 80}])
"""A Service that no other rule leads to: what becomes of the rule when it has no pod is its own affair."""

_priorities = st.sampled_from([1, 20, 40, 2000])
routes = st.fixed_dictionaries(
    {"kind": st.just("Rule"), "match": matches, "services": st.one_of(_services, _services, _lonely)},
    optional={
        "priority": _priorities,
        "middlewares": st.just([{"name": "compress"}]),
        "observability": st.just({"tracing": False}),
    },
)
rules_of_users = st.lists(routes, min_size=1, max_size=4, unique_by=lambda item: item["match"])
rules_of_rivals = st.lists(
    st.fixed_dictionaries(
        {
            "match": matches,
            "services": st.sampled_from(["orders", "rival"]).map(lambda name: [{"name": name, "port": 80}]),
        },
        optional={"priority": _priorities},
    ),
    min_size=0,
    max_size=2,
    unique_by=lambda item: item["match"],
)


_ingress_paths = st.builds(
    ingress_path,
    st.sampled_from(["/", "/api", "/api/1", "/b", ""]),
    st.sampled_from(["Exact", "Prefix", "ImplementationSpecific"]),
    st.sampled_from(["orders", "rival"]),
)
_ingress_rules = st.builds(
    lambda paths, host: ingress_rule(*paths, host=host),
    st.lists(_ingress_paths, min_size=1, max_size=2),
    st.sampled_from(["shop.example.com", "api.example.com", ""]),
)


@st.composite
def ingresses(draw: st.DrawFn, entry_points: list[str], *, has_tls: bool) -> list[Object]:
    """None or one of users', at their entry points or another, for this Traefik or not."""
    if draw(st.sampled_from([True, False])):
        return []
    about: dict[str, str] = {"tls": "true"} if has_tls else {}
    listed = draw(st.sampled_from([None, ",".join(entry_points), "internal"]))
    about |= {} if listed is None else {"entrypoints": listed}
    about |= draw(st.fixed_dictionaries({}, optional={"priority": st.sampled_from(["1", "40", "2000"])}))
    about |= draw(st.sampled_from([{}, {}, {"ingress_class": "traefik"}, {"ingress_class": "nginx"}]))
    return [ingress("web", *draw(st.lists(_ingress_rules, min_size=1, max_size=2)), **about)]


@st.composite
def users(draw: st.DrawFn) -> list[Object]:
    """Users' IngressRoutes, and perhaps an Ingress at the same entry points."""
    objects = draw(users_ingress_routes())
    spec = objects[0]["spec"]
    return [*objects, *draw(ingresses(spec["entryPoints"], has_tls="tls" in spec))]


@st.composite
def users_ingress_routes(draw: st.DrawFn) -> list[Object]:
    """IngressRoute `web`, another of the same namespace and one of another, each at the same or another entry point."""
    entry_points = draw(st.sampled_from([["web"], ["web", "websecure"]]))
    more: dict[str, Any] = draw(st.fixed_dictionaries({}, optional={"tls": st.just({"secretName": "cert"})}))
    objects = [ingress_route("web", *draw(rules_of_users), entryPoints=entry_points, **more)]
    for number, namespace in enumerate(["shop", "billing"]):
        theirs = draw(st.sampled_from([entry_points, entry_points, ["internal"]]))
        rival = ingress_route(f"rival-{number}", *draw(rules_of_rivals), entryPoints=theirs, **more)
        rival["metadata"]["namespace"] = namespace
        objects.append(rival)
    return [*objects, *draw(traefik_services())]


@st.composite
def traefik_services(draw: st.DrawFn) -> list[Object]:
    sticky = draw(st.fixed_dictionaries({}, optional={"sticky": st.just({"cookie": {"name": "group"}})}))
    inner = _weighted(draw(st.lists(_plain, min_size=1, max_size=3)), draw(_weights))
    return [
        traefik_service("weighted", weighted={"services": inner, **sticky}),
        traefik_service(
            "nested", weighted={"services": [through("weighted", weight=1), {**draw(_plain), "weight": 3}]}
        ),
        traefik_service(
            "mirroring",
            mirroring={**draw(_one_but_mirroring), "mirrors": [{"name": "shadow", "port": 80, "percent": 10}]},
        ),
        traefik_service("hashed", highestRandomWeight={"services": [draw(_plain), {**draw(_plain), "weight": 2}]}),
    ]


_one_but_mirroring = st.one_of(_plain, st.sampled_from(["weighted", "hashed"]).map(through))

requests = st.builds(
    Request,
    path=st.sampled_from(["/", "/api", "/api/1", "/b"]),
    host=st.sampled_from(["shop.example.com", "api.example.com", "example.org"]),
    method=st.sampled_from(["GET", "POST"]),
    headers=st.sampled_from([(), (("x-beta", "1"),), (("x-beta", "x"), ("x-beta", "2"))]),
    query=st.sampled_from([(), (("v", "1"),)]),
    entry_point=st.sampled_from(["web", "websecure", "internal"]),
    is_tls=st.booleans(),
)
requests_at_web = requests.map(lambda request: replace(request, entry_point="web", is_tls=False))
"""Such as more rules are for."""

modes = st.sampled_from(list(HeaderMode))
