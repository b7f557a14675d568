"""A small model of which VirtualServices istiod gives to a proxy, and as which rules, to judge ours against.

After initVirtualServices, SelectVirtualServices, mergeVirtualServices, buildGatewayHTTPRouteConfig and SortVHostRoutes
of Istio's pilot. It shares no code with the package. All VirtualServices given to it have the request's host.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

VirtualService = dict[str, Any]

FILLED = "rewrite directResponse timeout retries fault mirror mirrorPercent mirrorPercentage corsPolicy mirrors headers"


@dataclass(frozen=True)
class Proxy:
    """A pod that sends requests: a sidecar's, where `gateway` is `mesh`, or one of that Gateway (`namespace/name`)."""

    namespace: str
    labels: dict[str, str] = field(default_factory=dict)
    gateway: str = "mesh"


def at_sidecar(objects: list[VirtualService], proxy: Proxy, port: int, default: str) -> list[dict[str, Any]]:
    """The rules of the first VirtualService that it sees; without any for the port, all goes to Service `default`."""
    seen = _in_order(objects, proxy)
    rules = _routes(_merged(seen[0], objects), proxy, port) if seen else []
    return rules or [{"route": [{"destination": {"host": default}}]}]


def at_gateway(objects: list[VirtualService], proxy: Proxy, port: int) -> list[dict[str, Any]]:
    """The rules of all VirtualServices that the gateway sees, one after the other, those that match everything last."""
    routes = [rule for item in _in_order(objects, proxy) for rule in _routes(_merged(item, objects), proxy, port)]
    return [rule for rule in routes if not _catches_all(rule)] + [rule for rule in routes if _catches_all(rule)]


def _in_order(objects: list[VirtualService], proxy: Proxy) -> list[VirtualService]:
    """Those that the proxy sees: private to its namespace, exported to it by name, public; the oldest first."""
    classes: tuple[list[VirtualService], ...] = ([], [], [])
    bound = [item for item in objects if item["spec"].get("hosts") and proxy.gateway in _gateways(item)]
    for item in sorted(bound, key=lambda item: item["metadata"]["creationTimestamp"]):
        namespace = item["metadata"]["namespace"]
        exported = [namespace if name == "." else name for name in item["spec"].get("exportTo") or ["*"]]
        if "*" in exported:
            classes[2].append(item)
        elif proxy.namespace in exported:
            classes[0 if namespace == proxy.namespace else 1].append(item)
    return [item for items in classes for item in items]


def _gateways(item: VirtualService) -> list[str]:
    return [_qualified(name, item["metadata"]["namespace"]) for name in item["spec"].get("gateways") or ["mesh"]]


def _qualified(gateway: str, namespace: str) -> str:
    return gateway if gateway == "mesh" or "/" in gateway else f"{namespace}/{gateway}"


def _routes(rules: list[dict[str, Any]], proxy: Proxy, port: int) -> list[dict[str, Any]]:
    """One rule for each alternative that this proxy has on this port, up to one that ends the list."""
    routes: list[dict[str, Any]] = []
    for rule in rules:
        if not rule.get("match"):
            return [*routes, rule]
        for match in rule["match"]:
            if match.get("port", port) != port or not _is_for(match, proxy):
                continue
            routes.append({**rule, "match": [match]})
            if _catches_all(routes[-1]):
                return routes
    return routes


def _is_for(match: dict[str, Any], proxy: Proxy) -> bool:
    if match.get("gateways"):
        return proxy.gateway in match["gateways"]
    labels: dict[str, str] = match.get("sourceLabels", {})
    return labels.items() <= proxy.labels.items() and match.get("sourceNamespace", proxy.namespace) == proxy.namespace


def _catches_all(rule: dict[str, Any]) -> bool:
    (match,) = rule.get("match") or [{}]
    looks = set(match) - {"name", "port", "gateways", "sourceLabels", "sourceNamespace", "uri", "ignoreUriCase"}
    return not looks and match.get("uri", {"prefix": "/"}) in ({"prefix": "/"}, {"regex": ".*"})


def _merged(root: VirtualService, objects: list[VirtualService]) -> list[dict[str, Any]]:
    delegates = {_key(item): item for item in objects if not item["spec"].get("hosts")}
    namespace = root["metadata"]["namespace"]
    merged = []
    for rule in _resolved(root):
        if "delegate" not in rule:
            merged.append(rule)
            continue
        goal = rule["delegate"]
        delegate = delegates.get(f"{goal.get('namespace', namespace)}/{goal['name']}")
        if delegate is not None and _reaches(delegate, namespace):
            merged += [found for leaf in _resolved(delegate) if (found := _under(rule, leaf)) is not None]
    return merged


def _reaches(delegate: VirtualService, namespace: str) -> bool:
    own = delegate["metadata"]["namespace"]
    exported = [own if name == "." else name for name in delegate["spec"].get("exportTo") or ["*"]]
    return "*" in exported or namespace in exported


def _under(root: dict[str, Any], leaf: dict[str, Any]) -> dict[str, Any] | None:
    """The delegate's rule as it holds below the root's; None when an alternative contradicts all of the root's."""
    rule = {**{name: root[name] for name in FILLED.split() if name in root}, **leaf}
    outer, inner = root.get("match") or [], leaf.get("match") or []
    if not outer or not inner:
        return {**rule, "match": outer or inner}
    both = []
    for narrow in inner:
        agreeing = [wide for wide in outer if _agree(wide, narrow)]
        if not agreeing:
            return None
        both += [_both(wide, narrow) for wide in agreeing]
    return {**rule, "match": both}


def _agree(wide: dict[str, Any], narrow: dict[str, Any]) -> bool:
    pairs = [(wide.get(name), narrow.get(name)) for name in ("uri", "method")]
    for name in ("headers", "withoutHeaders"):
        pairs += [(wide.get(name, {}).get(header), wanted) for header, wanted in narrow.get(name, {}).items()]
    return (
        all(outer is None or inner is None or _within(outer, inner) for outer, inner in pairs)
        and wide.get("ignoreUriCase", False) == narrow.get("ignoreUriCase", False)
        and wide.get("port", narrow.get("port")) == narrow.get("port", wide.get("port"))
        and wide.get("sourceNamespace") in (None, narrow.get("sourceNamespace"))
        and all(wide.get("sourceLabels", {}).get(name, text) == text for name, text in _labels(narrow))
        and (not wide.get("gateways") or set(narrow.get("gateways", ())) <= set(wide["gateways"]))
    )


def _within(outer: dict[str, str], inner: dict[str, str]) -> bool:
    ((kind, wide),), ((inner_kind, text),) = outer.items(), inner.items()
    if "regex" in (kind, inner_kind):
        return False
    return text == wide and inner_kind == "exact" if kind == "exact" else text.startswith(wide)


def _labels(match: dict[str, Any]) -> list[tuple[str, str]]:
    return list(match.get("sourceLabels", {}).items())


def _both(wide: dict[str, Any], narrow: dict[str, Any]) -> dict[str, Any]:
    both = {**wide, **narrow}
    for name in ("headers", "withoutHeaders", "sourceLabels"):
        if name in both:
            both[name] = {**wide.get(name, {}), **narrow.get(name, {})}
    return both


def _resolved(item: VirtualService) -> list[dict[str, Any]]:
    """The rules with short names of hosts and gateways spelled out."""
    namespace = item["metadata"]["namespace"]
    rules: list[dict[str, Any]] = json.loads(json.dumps(item["spec"].get("http") or []))
    for rule in rules:
        destinations = [entry["destination"] for entry in [*rule.get("route", ()), *rule.get("mirrors", ())]]
        for destination in [*destinations, *([rule["mirror"]] if "mirror" in rule else ())]:
            if "." not in destination["host"]:
                destination["host"] += f".{namespace}.svc.cluster.local"
        for match in rule.get("match", ()):
            if "gateways" in match:
                match["gateways"] = [_qualified(name, namespace) for name in match["gateways"]]
    return rules


def _key(item: VirtualService) -> str:
    return f"{item['metadata']['namespace']}/{item['metadata']['name']}"
