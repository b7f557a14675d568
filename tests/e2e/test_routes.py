"""Routes in a real mesh: proven before Ready, over a user's own ones without touching them, gone with the Sandbox."""

import json

from e2e.place import Place
from sidestream.kube.port import SANDBOXES, SERVICES, VIRTUAL_SERVICES, Object

FORK = "web-alice"


def users_route(place: Place) -> Object:
    """A VirtualService as a team would have one: a rule of its own with a timeout, and the rest."""
    host = f"web.{place.namespace}.svc.cluster.local"
    return {
        "apiVersion": VIRTUAL_SERVICES.api_version,
        "kind": VIRTUAL_SERVICES.kind,
        "metadata": {"name": "web", "namespace": place.namespace, "annotations": {"team": "a"}},
        "spec": {
            "hosts": [host],
            "http": [
                {
                    "name": "slow",
                    "match": [{"uri": {"prefix": "/slow"}}],
                    "timeout": "30s",
                    "route": [{"destination": {"host": host}}],
                },
                {"route": [{"destination": {"host": host}}]},
            ],
        },
    }


def routed(place: Place) -> Object:
    """The entry of `web` in the Sandbox's status."""
    (entry,) = place.cluster.read(SANDBOXES, place.namespace, "alice")["status"]["routes"]
    assert isinstance(entry, dict)
    return entry


def destinations(virtual_service: Object) -> set[str]:
    """Every host that a VirtualService sends requests to, without its domain."""
    rules = virtual_service["spec"]["http"]
    return {target["destination"]["host"].split(".")[0] for rule in rules for target in rule.get("route", [])}


def test_a_route_is_proven_in_the_proxies_and_goes_with_the_last_tenant(place: Place) -> None:
    place.deploy("web")
    place.expose("web")
    place.sandbox("alice", "web")
    place.ready("alice")
    assert routed(place)["state"] == "Programmed"
    owned = place.cluster.read(VIRTUAL_SERVICES, place.namespace, "sidestream-web")
    assert destinations(owned) == {"web", FORK}
    assert place.cluster.get(SERVICES, place.namespace, FORK)
    place.delete("alice")
    place.gone("alice")
    assert place.cluster.get(VIRTUAL_SERVICES, place.namespace, "sidestream-web") is None


def test_a_users_virtual_service_keeps_every_byte(place: Place) -> None:
    place.deploy("web")
    place.expose("web")
    before = json.dumps(place.cluster.apply(VIRTUAL_SERVICES, users_route(place)), sort_keys=True)

    def users_own() -> str:
        return json.dumps(place.cluster.read(VIRTUAL_SERVICES, place.namespace, "web"), sort_keys=True)

    place.sandbox("alice", "web")
    place.ready("alice")
    assert routed(place)["mode"] == "Overlay"
    overlay = place.cluster.read(VIRTUAL_SERVICES, place.namespace, "sidestream-web")
    assert "*" not in overlay["spec"]["exportTo"]
    assert sum("/slow" in json.dumps(rule) for rule in overlay["spec"]["http"]) >= 2, "for the tenant and for the rest"
    assert users_own() == before
    place.delete("alice")
    place.gone("alice")
    assert users_own() == before
    assert place.cluster.get(VIRTUAL_SERVICES, place.namespace, "sidestream-web") is None
