"""The pods of the latency benchmark: a backend without a sidecar and a client with one, and requests sent from it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sidestream.kube.port import DEPLOYMENTS, SERVICES, Object, Resource
from sidestream_demo.cluster import Cluster
from sidestream_demo.process import run
from sidestream_demo.shop import is_rolled_out

CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
BACKEND, CLIENT = "backend", "client"
BASELINE, FORK = "baseline", "fork"
"""What the backend answers at either of its ports."""
PORT = 80
SECONDS = 120.0

_PORTS = {BASELINE: 8080, FORK: 8081}
_PROGRAM = Path(__file__).parent / "in_pod.py"
_FOLDER = "/bench"
_LONG_SECONDS = 600.0


@dataclass(frozen=True)
class Request:
    """One request; `address` is where it is sent when that is not its own host, such as a gateway's Service."""

    host: str
    headers: tuple[tuple[str, str], ...] = ()
    method: str = "GET"
    path: str = "/"
    address: str = ""
    port: int = PORT

    def to_json(self) -> Object:
        """As `in_pod` reads it."""
        return {
            "host": self.host,
            "address": self.address or self.host,
            "port": self.port,
            "method": self.method,
            "path": self.path,
            "headers": [list(line) for line in self.headers],
        }


@dataclass(frozen=True)
class Pods:
    """Backend and client in a namespace that sidecars are injected into, with an image that has Python."""

    cluster: Cluster
    image: str
    namespace: str

    def start(self) -> None:
        """Return when both are ready."""
        data = {_PROGRAM.name: _PROGRAM.read_text()}
        self.cluster.apply(CONFIG_MAPS, {**_head(CONFIG_MAPS, self.namespace, "bench"), "data": data})
        roles = [word for name, port in _PORTS.items() for word in (str(port), name)]
        self._run(BACKEND, ["serve", *roles], is_in_mesh=False)
        self._run(CLIENT, None, is_in_mesh=True)
        for name in (BACKEND, CLIENT):
            self.cluster.wait(DEPLOYMENTS, self.namespace, name, is_rolled_out, timeout=SECONDS, what="rolled out")

    def serve(self, name: str, role: str) -> None:
        """A Service that the backend answers for as `role`."""
        ports = [{"name": "http", "port": PORT, "targetPort": _PORTS[role]}]
        spec = {"selector": {"app": BACKEND}, "ports": ports}
        self.cluster.apply(SERVICES, {**_head(SERVICES, self.namespace, name), "spec": spec})

    def deploy_named(self, name: str, who: str) -> None:
        """A Deployment and a Service of this name; its pods answer with what their variable WHO says."""
        self._run(name, ["serve", str(_PORTS[BASELINE]), "$(WHO)"], is_in_mesh=False, who=who)
        ports = [{"name": "http", "port": PORT, "targetPort": _PORTS[BASELINE]}]
        spec = {"selector": {"app": name}, "ports": ports}
        self.cluster.apply(SERVICES, {**_head(SERVICES, self.namespace, name), "spec": spec})

    def host(self, service: str) -> str:
        """The full name of a Service in the namespace."""
        return f"{service}.{self.namespace}.svc.cluster.local"

    def ask(self, requests: Sequence[Request], *, client: str = CLIENT) -> list[Object]:
        """Send each once, from a pod of ours; `status`, `location` and `body` of the answers."""
        answers: list[Object] = json.loads(self._exec(client, ["ask"], requests))
        return answers

    def times(self, requests: Sequence[Request], rounds: int, warm_up: int, *, client: str = CLIENT) -> list[list[int]]:
        """Microseconds of each answer, by request."""
        times: list[list[int]] = json.loads(self._exec(client, ["time", str(rounds), str(warm_up)], requests))
        return times

    def command(self, *words: str, client: str = CLIENT) -> list[str]:
        """The command line that runs `in_pod` in a pod of ours."""
        place = ["exec", "--stdin", "--namespace", self.namespace, f"deploy/{client}", "--container", "app", "--"]
        return self.cluster.kubectl_command(*place, "python", f"{_FOLDER}/{_PROGRAM.name}", *words)

    def _exec(self, client: str, words: Sequence[str], requests: Sequence[Request]) -> str:
        question = json.dumps([request.to_json() for request in requests])
        return run(self.command(*words, client=client), stdin=question, timeout=_LONG_SECONDS)

    def _run(self, name: str, words: list[str] | None, *, is_in_mesh: bool, who: str = "") -> None:
        program = ["-c", "import signal; signal.pause()"] if words is None else [f"{_FOLDER}/{_PROGRAM.name}", *words]
        container: Object = {
            "name": "app",
            "image": self.image,
            "command": ["python", *program],
            "env": [{"name": "WHO", "value": who}],
            "volumeMounts": [{"name": "bench", "mountPath": _FOLDER, "readOnly": True}],
            "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
        }
        if words is not None:
            container["readinessProbe"] = {"tcpSocket": {"port": _PORTS[BASELINE]}, "periodSeconds": 1}
        labels = {"app": name, "sidecar.istio.io/inject": str(is_in_mesh).lower()}
        volumes = [{"name": "bench", "configMap": {"name": "bench"}}]
        pod = {"terminationGracePeriodSeconds": 0, "containers": [container], "volumes": volumes}
        spec = {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        }
        self.cluster.apply(DEPLOYMENTS, {**_head(DEPLOYMENTS, self.namespace, name), "spec": spec})


def _head(resource: Resource, namespace: str, name: str) -> Object:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
