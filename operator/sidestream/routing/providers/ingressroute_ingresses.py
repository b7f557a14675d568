"""Ingresses that the same Traefik serves: their rules compete with those of IngressRoutes, by priority.

Of each path Traefik makes one rule, `Host("...") && PathPrefix("...")`, whose priority is the length of its text if no
annotation says another. Requests that it takes are not routed by tenant, so rules of ours have to leave it what is its.
A default backend comes after everything else, and competes with nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from sidestream.kube.port import INGRESS_CLASSES, INGRESSES, Object
from sidestream.routing.providers.ingressroute_scope import scope_of
from sidestream.routing.providers.ingressroute_tokens import MatchError
from sidestream.routing.providers.ingressroute_view import INGRESS_CLASS, UserRoute, UserRule, read_rule
from sidestream.routing.providers.provider import Cluster, key_of

_ANNOTATION: Final = "traefik.ingress.kubernetes.io/router."
_CONTROLLER: Final = "traefik.io/ingress-controller"
_UNNAMED: Final = ("", "traefik")
"""Classes by annotation that a Traefik takes which is not told of any."""

_NUMBER: Final = re.compile(r"[+-]?[0-9]+")


def ingresses_beside(own: UserRoute, cluster: Cluster) -> Iterator[UserRoute]:
    """The Ingresses that the Traefik of an IngressRoute serves as well, as far as their classes tell."""
    for obj in cluster.all(INGRESSES):
        found = ingress_beside(obj, own, cluster)
        if found is not None:
            yield found


def ingress_beside(obj: Object, own: UserRoute, cluster: Cluster) -> UserRoute | None:
    """What an Ingress says to the Traefik of an IngressRoute; None where that does not serve it."""
    if not _is_served_with(obj, own, cluster):
        return None
    # by their classes they go together, whatever these are called
    return replace(view_of_ingress(obj), ingress_class=own.ingress_class)


def _is_served_with(ingress: Object, own: UserRoute, cluster: Cluster) -> bool:
    """Whether one Traefik takes both."""
    named = (ingress.get("spec") or {}).get("ingressClassName")
    name = named or (ingress["metadata"].get("annotations") or {}).get(INGRESS_CLASS, "")
    if own.ingress_class:
        return bool(name == own.ingress_class)
    if not named:
        return name in _UNNAMED
    found = cluster.get(INGRESS_CLASSES, "", named)
    return found is not None and (found.get("spec") or {}).get("controller") == _CONTROLLER


def view_of_ingress(obj: Object) -> UserRoute:
    """What an Ingress says to Traefik, which passes over one whose annotations it cannot read."""
    said = _said(obj)
    priority = said.get("priority", "0")
    rules, unread = [], []
    for where, place, host, path in _paths(obj) if _NUMBER.fullmatch(priority) else ():
        text = _rule_text(host, path, said.get("pathmatcher", ""))
        if not text:
            continue
        owner = f"Ingress {key_of(obj)}"
        try:
            match = read_rule(text, said.get("rulesyntax", ""))
        except MatchError as error:
            unread.append(f"Rule {where} of {owner} cannot be understood: {error}")
            continue
        effective, namespace = int(priority) or len(text.encode()), obj["metadata"]["namespace"]
        rules.append(UserRule(where, place, owner, namespace, match, scope_of(match), effective, path["backend"]))
    return UserRoute(
        key=key_of(obj),
        entry_points=frozenset(name for item in said.get("entrypoints", "").split(",") if (name := item.strip())),
        has_tls=any(name.partition(".")[0] == "tls" and value != "false" for name, value in said.items()),
        ingress_class="",
        rules=tuple(sorted(rules, key=lambda rule: rule.order)),
        unread=tuple(unread),
        is_ingress=True,
    )


def _said(obj: Object) -> Mapping[str, str]:
    """Traefik's annotations about routers, which it reads in whichever case."""
    annotations = {name.lower(): value for name, value in (obj["metadata"].get("annotations") or {}).items()}
    ours = {name: value for name, value in annotations.items() if name.startswith(_ANNOTATION)}
    return {name.removeprefix(_ANNOTATION): value for name, value in ours.items()}


def _paths(obj: Object) -> Iterator[tuple[str, tuple[int, int], str, dict[str, Any]]]:
    """Each path with where it stands, and the host that it is for ("" is any)."""
    for number, rule in enumerate((obj.get("spec") or {}).get("rules") or ()):
        for index, path in enumerate((rule.get("http") or {}).get("paths") or ()):
            yield f"rules[{number}].http.paths[{index}]", (number, index), rule.get("host") or "", path


def _rule_text(host: str, path: dict[str, Any], matcher: str) -> str:
    """The rule that Traefik 3 makes of it; its length counts."""
    match path.get("pathType"):
        case "Exact":
            found = "Path"
        case "Prefix":
            found = "PathPrefix"
        case _:
            found = matcher or "PathPrefix"
    wanted = [(name, value) for name, value in (("Host", host), (found, path.get("path") or "")) if value]
    return " && ".join(f"{name}({json.dumps(value, ensure_ascii=False)})" for name, value in wanted)
