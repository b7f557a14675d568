"""Routes by HTTPRoutes, in the mesh and at a gateway, made by the installed operator."""

from e2e.place import Place
from sidestream.kube.port import GATEWAYS, GRPC_ROUTES, HTTP_ROUTES, SANDBOXES, VIRTUAL_SERVICES, Object, Resource
from sidestream_demo.cluster import is_condition
from sidestream_demo.process import wait_until

WHO = [
    "python",
    "-c",
    """
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Who(BaseHTTPRequestHandler):
    def do_GET(self):
        body = os.environ["HOSTNAME"].encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

ThreadingHTTPServer(("", 8080), Who).serve_forever()
""",
]
ASK = """
import sys
from urllib.request import ProxyHandler, Request, build_opener
url, host, *baggage = sys.argv[1:]
headers = {"host": host, **({"baggage": baggage[0]} if baggage else {})}
print(build_opener(ProxyHandler({})).open(Request(url, headers=headers), timeout=20).read().decode())
"""
HOST = "shop.example.com"
PREVIEW = "alice.preview.example.com"
SECONDS = 60.0


def made(resource: Resource, name: str, place: Place, spec: Object, **metadata: Object) -> Object:
    """An object as a team would write it."""
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": name, "namespace": place.namespace, **metadata},
        "spec": spec,
    }


def serve(place: Place, name: str, provider: str | None = None) -> None:
    """A Deployment that answers with its pod's name, and its Service, annotated with the provider."""
    place.deploy(name, command=WHO)
    place.expose(name, **({} if provider is None else {"sidestream.dev/provider": provider}))


def rows(place: Place) -> dict[str, Object]:
    """The rows of the Sandbox's status by entry."""
    status = place.cluster.read(SANDBOXES, place.namespace, "alice")["status"]
    return {row["entry"]: row for row in status.get("routes", ())}


def routes_of(place: Place, resource: Resource = HTTP_ROUTES) -> set[str]:
    """The names of all routes of a kind."""
    return {item["metadata"]["name"] for item in place.cluster.objects(resource, place.namespace)}


def who(place: Place, url: str, host: str, *baggage: str) -> str:
    """The pod that answers a request from a pod of `web`, without its own proxy in between."""
    run = ("exec", "--namespace", place.namespace, "deploy/web", "--container", "app", "--", "python", "-c", ASK)
    return place.cluster.kubectl(*run, url, host, *baggage).strip()


def test_a_service_that_asks_for_it_is_routed_by_httproutes_behind_a_guard(place: Place) -> None:
    serve(place, "web", "HTTPRoute")
    place.sandbox("alice", "web")
    place.ready("alice")
    row = rows(place)["mesh"]
    assert (row["provider"], row["mode"], row["state"]) == ("HTTPRoute", "Owned", "Programmed")
    assert len(routes_of(place)) == 2, "the guard and the tenant's"
    assert place.cluster.objects(VIRTUAL_SERVICES, place.namespace) == []
    place.delete("alice")
    place.gone("alice")

    def is_nothing_left() -> bool:
        return not routes_of(place)

    wait_until(is_nothing_left, SECONDS, "the guard to go after the tenant's route")


def test_the_kind_of_object_may_be_changed_on_a_living_sandbox(place: Place) -> None:
    serve(place, "web", "VirtualService")
    place.sandbox("alice", "web")
    place.ready("alice")
    for provider, other in (("HTTPRoute", VIRTUAL_SERVICES), ("VirtualService", HTTP_ROUTES)):
        serve(place, "web", provider)

        def has_changed(provider: str = provider) -> bool:
            row = rows(place)["mesh"]
            return (row["provider"], row["state"]) == (provider, "Programmed")

        def is_the_other_gone(other: Resource = other) -> bool:
            return not place.cluster.objects(other, place.namespace)

        wait_until(has_changed, SECONDS, f"routes by {provider}")
        wait_until(is_the_other_gone, SECONDS, f"no {other.kind} to be left")


def test_a_service_with_a_users_grpc_route_has_tenants_beside_it_that_proxies_confirm(place: Place) -> None:
    serve(place, "web")
    parent = {"group": "", "kind": "Service", "name": "web", "port": 8080}
    spec = {"parentRefs": [parent], "rules": [{"backendRefs": [{"name": "web", "port": 8080}]}]}
    place.cluster.apply(GRPC_ROUTES, made(GRPC_ROUTES, "calls", place, spec))
    place.sandbox("alice", "web")
    place.ready("alice")
    row = rows(place)["mesh"]
    assert (row["provider"], row["mode"], row["state"]) == ("HTTPRoute", "Beside", "Programmed")
    assert routes_of(place, GRPC_ROUTES) == {"calls", row["object"]}
    place.delete("alice")
    place.gone("alice")
    assert routes_of(place, GRPC_ROUTES) == {"calls"}


def test_requests_that_come_in_at_a_gateway_meet_the_fork_too_and_the_preview_has_its_own_address(place: Place) -> None:
    serve(place, "web")
    listener = {"name": "http", "port": 80, "protocol": "HTTP"}
    place.cluster.apply(
        GATEWAYS,
        made(GATEWAYS, "public", place, {"gatewayClassName": "istio", "listeners": [listener]}, annotations=CLUSTER_IP),
    )
    spec = {
        "parentRefs": [{"name": "public"}],
        "hostnames": [HOST],
        "rules": [{"backendRefs": [{"name": "web", "port": 8080}]}],
    }
    users = place.cluster.apply(HTTP_ROUTES, made(HTTP_ROUTES, "front", place, spec))
    place.until(GATEWAYS, "public", is_condition("Programmed"), 120)
    place.sandbox("alice", "web", preview={"gateway": {"name": "public"}, "host": PREVIEW})
    sandbox = place.ready("alice")
    entry = f"HTTPRoute {place.namespace}/front"
    found = rows(place)
    assert {entry, "mesh"} == set(found)
    assert found["mesh"]["gateways"] == [entry]
    assert (found[entry]["provider"], found[entry]["mode"], found[entry]["state"]) == (
        "HTTPRoute",
        "Beside",
        "Programmed",
    )
    door = f"http://public-istio.{place.namespace}.svc.cluster.local/"
    assert who(place, door, HOST, "a=b,tenant=alice").startswith("web-alice-")
    assert sandbox["status"]["preview"]["address"] == f"http://{PREVIEW}"
    assert who(place, door, PREVIEW).startswith("web-alice-")
    for baggage in ((), ("a=b",), ("tenant=bob",)):
        assert not who(place, door, HOST, *baggage).startswith("web-alice-")
    place.delete("alice")
    place.gone("alice")
    assert routes_of(place) == {"front"}
    assert not who(place, door, HOST, "tenant=alice").startswith("web-alice-")
    after = place.cluster.read(HTTP_ROUTES, place.namespace, "front")
    assert after["metadata"]["generation"] == users["metadata"]["generation"]
    assert after["spec"] == users["spec"]


CLUSTER_IP = {"networking.istio.io/service-type": "ClusterIP"}
"""The lab has nobody who gives load balancers an address."""
