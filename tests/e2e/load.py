"""A constant load on Services in the mesh while their tenants come and go, and what was wrong with its answers."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from e2e.place import Place
from flow.wire import programs
from flow.wire.programs import CONFIG_MAPS
from sidestream.kube.port import DEPLOYMENTS, SERVICES, Object

BASELINE = "baseline"
HTTP_PORT, HTTP2_PORT = 80, 81
CALLER = "caller"
WAYS = {"kept": HTTP_PORT, "new": HTTP_PORT, "h2": HTTP2_PORT}
_PROGRAM = Path(__file__).parent / "load_in_pod.py"
_END_SECONDS = 60.0


@dataclass(frozen=True)
class Stream:
    """Requests of one kind; `tenant` is empty for those that name none."""

    service: str
    way: str
    tenant: str = ""

    def to_json(self, namespace: str) -> Object:
        """As `load_in_pod` reads it."""
        members = ["trace=of-somebody", *([f"tenant={self.tenant}"] if self.tenant else [])]
        return {
            "way": self.way,
            "host": f"{self.service}.{namespace}.svc.cluster.local",
            "port": WAYS[self.way],
            "headers": [["baggage", ",".join(members)]],
        }


@dataclass(frozen=True)
class Answer:
    """One request's answer: who gave it, or in brackets what came instead, and its begin and end by the wall clock."""

    stream: Stream
    begin: float
    end: float
    who: str


@dataclass
class Life:
    """A tenant's time: from when its Sandbox was seen Ready until its deletion was asked for, and until it was gone."""

    tenant: str
    ready: float
    leaves: float = float("inf")


@dataclass
class Load:
    """What was sent and answered; `answers` are there when the load has ended."""

    answers: list[Answer] = field(default_factory=list)


def furnish(place: Place, image: str, services: Mapping[str, Mapping[str, str]]) -> None:
    """Deployment `web` behind these Services (with annotations), and a caller in the mesh.

    `image` has Python and aiohttp, as the operator's has.
    """
    content = programs.config_map(place.namespace)
    content["data"][_PROGRAM.name] = _PROGRAM.read_text()
    place.cluster.apply(CONFIG_MAPS, content)
    roles = [
        {"port": 8080, "protocol": "http1", "who": "$(WHO)"},
        {"port": 8081, "protocol": "http2", "who": "$(WHO)"},
    ]
    echo = programs.container(image, "python", f"{programs.FOLDER}/echo.py", json.dumps(roles))
    echo["env"].append({"name": "WHO", "value": BASELINE})
    echo["readinessProbe"] = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}
    # who asks may still have the address of a pod that goes
    echo["lifecycle"] = {"preStop": {"sleep": {"seconds": 3}}}
    idle = programs.container(image, "python", "-c", "import signal; signal.pause()")
    place.cluster.apply(DEPLOYMENTS, _deployment(place, "web", echo, is_in_mesh=False))
    place.cluster.apply(DEPLOYMENTS, _deployment(place, CALLER, idle, is_in_mesh=True))
    for name, marks in services.items():
        place.cluster.apply(SERVICES, _service(place, name, marks))
    place.rolled_out("web")
    place.rolled_out(CALLER)


@contextmanager
def constant_load(place: Place, streams: Sequence[Stream]) -> Iterator[Load]:
    """Send all streams from the caller's pod for as long as the context lasts."""
    told = Load()
    place_of_caller = ["exec", "--stdin", "--namespace", place.namespace, f"deploy/{CALLER}", "--container", "app"]
    question = json.dumps([stream.to_json(place.namespace) for stream in streams])
    command = place.cluster.kubectl_command(
        *place_of_caller, "--", "python", f"{programs.FOLDER}/{_PROGRAM.name}", question
    )
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        yield told
        output, errors = process.communicate(timeout=_END_SECONDS)
        assert process.returncode == 0, errors.decode()
        told.answers += [Answer(streams[item[0]], *item[1:]) for item in json.loads(output)]
    finally:
        process.kill()
        process.wait()


def begin(place: Place, tenant: str) -> Life:
    """Make a tenant's Sandbox, whose fork answers with the tenant's name, and wait until it is Ready."""
    environment = [{"name": "WHO", "value": tenant}]
    place.sandbox(tenant, workloads=[{"deployment": "web", "containers": [{"env": environment}]}])
    place.ready(tenant)
    return Life(tenant, ready=time.time())


def live(place: Place, tenant: str, seconds: float) -> Life:
    """One Sandbox from beginning to end."""
    life = begin(place, tenant)
    time.sleep(seconds)
    life.leaves = time.time()
    place.delete(tenant)
    place.gone(tenant)
    return life


def faults(answers: Sequence[Answer], lives: Sequence[Life]) -> list[Answer]:
    """The answers that must not be.

    Nobody's request may fail or come to another tenant's fork; requests without a tenant belong to the baseline, and a
    tenant's to its fork while its Sandbox is Ready. Before and after that they may come to either.
    """
    return [answer for answer in answers if answer.who not in _rightful(answer, lives)]


def _rightful(answer: Answer, lives: Sequence[Life]) -> set[str]:
    tenant = answer.stream.tenant
    if not tenant:
        return {BASELINE}
    is_ready = any(life.tenant == tenant and life.ready <= answer.begin and answer.end <= life.leaves for life in lives)
    return {tenant} if is_ready else {tenant, BASELINE}


def _deployment(place: Place, name: str, container: Object, *, is_in_mesh: bool) -> Object:
    labels = {"app": name, "sidecar.istio.io/inject": str(is_in_mesh).lower()}
    pod = {"terminationGracePeriodSeconds": 5, "containers": [container], "volumes": [programs.volume()]}
    return {
        "apiVersion": DEPLOYMENTS.api_version,
        "kind": DEPLOYMENTS.kind,
        "metadata": {"name": name, "namespace": place.namespace},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def _service(place: Place, name: str, annotations: Mapping[str, str]) -> Object:
    ports = [
        {"name": "http", "port": HTTP_PORT, "targetPort": 8080},
        {"name": "http2", "port": HTTP2_PORT, "targetPort": 8081},
    ]
    return {
        "apiVersion": SERVICES.api_version,
        "kind": SERVICES.kind,
        "metadata": {"name": name, "namespace": place.namespace, "annotations": dict(annotations)},
        "spec": {"selector": {"app": "web"}, "ports": ports},
    }
