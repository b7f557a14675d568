"""Ingresses that the same Traefik serves, beside users' IngressRoutes."""

from __future__ import annotations

import pytest

from builders import annotated, in_namespace, thing
from sidestream.kube.port import INGRESS_CLASSES, Object
from sidestream.routing.providers.ingressroute_ingresses import view_of_ingress
from sidestream.routing.providers.ingressroute_match import parsed
from sidestream.routing.providers.ingressroute_view import INGRESS_CLASS
from unit.routing.istio_things import Objects
from unit.routing.test_ingressroute import KEY, MATCH, WEB, entry, provider
from unit.routing.traefik_things import ingress, ingress_path, ingress_route, ingress_rule, route

HOST = "shop.example.com"
API = ingress("api", ingress_rule(ingress_path("/api"), host=HOST))
GIVES_WAY = (
    "Rule rules[0].http.paths[0] of Ingress shop/api comes before routes[0] of IngressRoute shop/web, and Ingresses "
    "are not routed by tenant, so requests that match both go the same way for everybody; write an IngressRoute in its "
    "place if forks are to have them"
)


def ingress_class(name: str, controller: str) -> Object:
    return thing(INGRESS_CLASSES, name, {"spec": {"controller": controller}})


TRAEFIKS = ingress_class("public", "traefik.io/ingress-controller")
RULES: dict[str, tuple[Object, list[tuple[str, int]]]] = {
    "a host and a prefix": (API, [("Host(`shop.example.com`) && PathPrefix(`/api`)", 46)]),
    "an exact path": (ingress("api", ingress_rule(ingress_path("/api", "Exact"))), [("Path(`/api`)", 12)]),
    "a host alone": (ingress("api", ingress_rule(ingress_path(), host=HOST)), [("Host(`shop.example.com`)", 24)]),
    "a priority of its own": (
        ingress("api", ingress_rule(ingress_path("/api", "Exact")), priority="7"),
        [("Path(`/api`)", 7)],
    ),
    "a matcher of its own": (
        ingress("api", ingress_rule(ingress_path("/api", "ImplementationSpecific")), pathmatcher="Path"),
        [("Path(`/api`)", 12)],
    ),
    "several paths, the first in Traefik's order first": (
        ingress("api", ingress_rule(ingress_path("/a"), ingress_path("/a/longer"))),
        [("PathPrefix(`/a/longer`)", 23), ("PathPrefix(`/a`)", 16)],
    ),
    "neither host nor path": (ingress("api", ingress_rule(ingress_path())), []),
    "a priority that is none": (ingress("api", ingress_rule(ingress_path("/api")), priority="high"), []),
    "no rules": (ingress("api"), []),
}


@pytest.mark.parametrize(("obj", "rules"), RULES.values(), ids=RULES)
def test_each_path_is_a_rule_as_traefik_makes_it(obj: Object, rules: list[tuple[str, int]]) -> None:
    found = view_of_ingress(obj).rules
    assert [(rule.match, rule.priority) for rule in found] == [(parsed(text), priority) for text, priority in rules]


def test_what_annotations_say_about_routers_is_read_in_whichever_case() -> None:
    obj = ingress("api", entryPoints="web, internal", **{"tls.certresolver": "acme"})
    found = view_of_ingress(obj)
    assert (found.entry_points, found.has_tls) == (frozenset({"web", "internal"}), True)
    assert not view_of_ingress(ingress("api", tls="false")).has_tls


def test_a_rule_that_cannot_be_read_is_told() -> None:
    obj = ingress("api", ingress_rule(ingress_path("/api"), host=HOST), rulesyntax="v2")
    assert entry(WEB, obj).finding == (
        "Rule rules[0].http.paths[0] of Ingress shop/api cannot be understood: it is in the syntax of Traefik 2"
    )


def test_what_an_ingress_takes_first_is_left_to_it_and_told() -> None:
    found = entry(WEB, API)
    assert found.finding == GIVES_WAY
    assert found.rules[0]["match"] == (
        rf"({MATCH}) && !((HostRegexp(`^shop\.example\.com\.?$`)) && (PathPrefix(`/api`)))"
    )


LEAVES_ALONE: dict[str, tuple[Object, ...]] = {
    "a lower priority": (ingress("api", ingress_rule(ingress_path("/"))),),
    "another host": (ingress("api", ingress_rule(ingress_path("/api/longer"), host="other.example.com")),),
    "another entry point": (ingress("api", ingress_rule(ingress_path("/api"), host=HOST), entrypoints="internal"),),
    "another class": (ingress("api", ingress_rule(ingress_path("/api"), host=HOST), ingress_class="nginx"),),
    "a class of another controller": (
        ingress("api", ingress_rule(ingress_path("/api"), host=HOST), class_name="nginx"),
        ingress_class("nginx", "k8s.io/ingress-nginx"),
    ),
    "a class that is not there": (ingress("api", ingress_rule(ingress_path("/api"), host=HOST), class_name="public"),),
}


@pytest.mark.parametrize("others", LEAVES_ALONE.values(), ids=LEAVES_ALONE)
def test_an_ingress_changes_nothing_with(others: tuple[Object, ...]) -> None:
    assert entry(WEB, *others) == entry(WEB)


CLASSED = ingress_route("web", route(MATCH, "orders"), modify=annotated({INGRESS_CLASS: "edge"}))
GOES_WITH: dict[str, tuple[Object, ...]] = {
    "none of either": (WEB, API),
    "Traefik's own": (WEB, ingress("api", ingress_rule(ingress_path("/api"), host=HOST), ingress_class="traefik")),
    "one of Traefik's controller": (
        WEB,
        ingress("api", ingress_rule(ingress_path("/api"), host=HOST), class_name="public"),
        TRAEFIKS,
    ),
    "the IngressRoute's, by annotation": (
        CLASSED,
        ingress("api", ingress_rule(ingress_path("/api"), host=HOST), ingress_class="edge"),
    ),
    "the IngressRoute's, by name": (
        CLASSED,
        ingress("api", ingress_rule(ingress_path("/api"), host=HOST), class_name="edge"),
    ),
}


@pytest.mark.parametrize("objects", GOES_WITH.values(), ids=GOES_WITH)
def test_an_ingress_goes_with_an_ingress_route_by_its_class(objects: tuple[Object, ...]) -> None:
    assert entry(*objects).finding == GIVES_WAY
    assert list(provider().entries_of(objects[1], Objects(*objects))) == [KEY]


def test_an_ingress_of_the_same_name_is_another_object() -> None:
    same = ingress("web", ingress_rule(ingress_path("/api"), host=HOST))
    assert "Ingress shop/web comes before routes[0] of IngressRoute shop/web" in entry(WEB, same).finding


def test_an_ingress_concerns_the_ingress_routes_that_share_requests_with_it_and_a_class_all() -> None:
    other = ingress_route("other", route("Host(`other.example.com`)", "orders"))
    far = ingress_route("far", route(MATCH, "orders"), modify=in_namespace("billing"))
    objects = Objects(WEB, other, far, API, TRAEFIKS)
    assert [str(key) for key in provider().entries_of(API, objects)] == [
        "IngressRoute billing/far",
        "IngressRoute shop/web",
    ]
    assert {key.name for key in provider().entries_of(TRAEFIKS, objects)} == {"web", "other", "far"}
    assert provider().destinations(API, "cluster.local") == frozenset()
