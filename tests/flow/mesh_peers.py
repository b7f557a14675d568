"""Pods of a real mesh for routing tests: Services that say who answered, and a prober from which requests are sent.

Requests go out from within a pod, by `kubectl exec`: only there is a proxy in the way, however the mesh puts it there.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flow.cluster import until
from sidestream.errors import TransientError
from sidestream.kube.client import AioKubeApi
from sidestream.kube.port import DEPLOYMENTS, SERVICES, Object, Resource
from sidestream_demo.environment import program
from sidestream_demo.process import run

MANAGER = "sidestream-flow-tests"
PORTS = {80: 8080, 81: 8081}
"""Ports of each Service and of its pods behind them."""

PROBER = "prober"

_ANSWERING = """
import json, os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

class Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = json.dumps({"who": os.environ["WHO"], "port": self.server.server_port}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass

for port in (8080, 8081):
    Thread(target=ThreadingHTTPServer(("", port), Answering).serve_forever).start()
"""

_ASKING = """
import json, sys
from urllib.request import Request, urlopen

answers = []
for request in json.loads(sys.argv[1]):
    with urlopen(Request(request["url"], headers=request["headers"]), timeout=30) as answer:
        answers.append({"rule": answer.headers.get("x-rule"), **json.load(answer)})
print(json.dumps(answers))
"""

_PROBING = """
import sys
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

prober = build_opener(ProxyHandler({}))
try:
    answer = prober.open(f"http://127.0.0.1:8080/probe?host={sys.argv[1]}&port={sys.argv[2]}", timeout=30)
except HTTPError as error:
    answer = error
print(answer.read().decode())
"""


@dataclass(frozen=True)
class Peers:
    """Pods of one test: Services in `namespace`, where all pods have proxies, and a prober in `outside`."""

    api: AioKubeApi
    kubeconfig: str
    image: str
    namespace: str
    outside: str

    async def deploy(self, name: str) -> None:
        """A Service of two HTTP ports and its Deployment, whose pods answer with the name; ready when this returns."""
        ports = [{"name": f"http-{port}", "port": port, "targetPort": target} for port, target in PORTS.items()]
        spec = {"selector": {"app": name}, "ports": ports}
        await self.api.apply(SERVICES, _object(SERVICES, self.namespace, name, spec), manager=MANAGER)
        await self._run(self.namespace, name, ["python", "-c", _ANSWERING], {"WHO": name}, {})

    async def start_prober(self) -> None:
        """The prober as the chart runs it: a proxy by the pod's own label."""
        labels = {"sidecar.istio.io/inject": "true"}
        await self._run(self.outside, PROBER, ["sidestream", "prober"], {}, labels)

    async def ask(self, urls: Sequence[str], headers: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        """GET each, from the prober's pod; who answered: `who`, `port`, and `rule` (its x-rule header)."""
        requests = [{"url": url, "headers": dict(headers or {})} for url in urls]
        answers: list[dict[str, Any]] = json.loads(await self._exec(_ASKING, json.dumps(requests)))
        return answers

    async def probe(self, host: str, port: int) -> tuple[str | None, ...]:
        """What the prober's HTTP API answers; raises TransientError where it got no answer itself."""
        answer = json.loads(await self._exec(_PROBING, host, str(port)))
        if "hashes" not in answer:
            raise TransientError(str(answer["detail"]))
        return tuple(answer["hashes"])

    async def _run(
        self, namespace: str, name: str, command: Sequence[str], env: Mapping[str, str], labels: dict[str, str]
    ) -> None:
        container = {
            "name": "app",
            "image": self.image,
            "command": list(command),
            "env": [{"name": key, "value": value} for key, value in env.items()],
            "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1},
            "resources": {"requests": {"cpu": "10m"}},
        }
        spec = {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name, **labels}},
                "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
            },
        }
        await self.api.apply(DEPLOYMENTS, _object(DEPLOYMENTS, namespace, name, spec), manager=MANAGER)
        await until(lambda: self._is_ready(namespace, name), f"Deployment {namespace}/{name} has a ready pod", 120)

    async def _is_ready(self, namespace: str, name: str) -> bool:
        live = await self.api.get(DEPLOYMENTS, namespace, name)
        return live is not None and live.get("status", {}).get("readyReplicas", 0) > 0

    async def _exec(self, script: str, *arguments: str) -> str:
        place = ["--kubeconfig", self.kubeconfig, "--namespace", self.outside]
        command = ["exec", f"deploy/{PROBER}", "--container", "app", "--", "python", "-c", script, *arguments]
        return await asyncio.to_thread(run, [program("kubectl"), *place, *command])


def _object(resource: Resource, namespace: str, name: str, spec: dict[str, Any]) -> Object:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": spec}
