"""Pods of a real mesh for routing tests: Services that say who answered, and a client from which requests are sent.

One pod answers for all Services: each leads to ports of its own, by which the echo knows as whom it is asked. Requests
go out from within another pod, by `kubectl exec`: only there is a proxy in the way, however the mesh puts it there.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from flow.cluster import until
from flow.wire import programs
from flow.wire.asking import Ask, Told
from sidestream.kube.client import AioKubeApi
from sidestream.kube.port import DEPLOYMENTS, SERVICES, Object, Resource
from sidestream_demo.environment import program
from sidestream_demo.process import run

MANAGER = "sidestream-flow-tests"
ECHO = "echo"
CLIENT = "client"
HTTP_PORT, HTTP2_PORT, GRPC_PORT = 80, 81, 82
"""Ports of every Service: HTTP/1.1 and WebSocket, HTTP/2, gRPC."""

_FIRST_PORT = 8000
_ASK_SECONDS = 180.0
_LONGEST_ANSWER = 2**27


@dataclass(frozen=True)
class Peers:
    """Pods in `namespace`: a client with a proxy of the mesh, and an echo with these roles, whose order counts."""

    api: AioKubeApi
    kubeconfig: str
    image: str
    namespace: str
    roles: tuple[str, ...]
    line: asyncio.subprocess.Process | None = None
    """A client that runs already, see `connected`."""

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Peers]:
        """The same with a client that stays, so that not each question has to start one."""
        process = await asyncio.create_subprocess_exec(
            *self._client_command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=_LONGEST_ANSWER
        )
        try:
            yield replace(self, line=process)
        finally:
            process.kill()
            await process.wait()

    async def start(self) -> None:
        """Echo and client; ready when this returns. Each role has a Service of its name."""
        await self.api.apply(programs.CONFIG_MAPS, programs.config_map(self.namespace), manager=MANAGER)
        await asyncio.gather(*(self.serve(role, role) for role in self.roles))
        await asyncio.gather(self._start_echo(), self._start_client())

    async def serve(self, name: str, role: str) -> None:
        """One more Service, whose requests the echo answers as `role`; proxies elsewhere need not know of it."""
        http1, http2 = self._ports(role)
        ports = [
            {"name": "http", "port": HTTP_PORT, "targetPort": http1},
            {"name": "http2", "port": HTTP2_PORT, "targetPort": http2},
            {"name": "grpc", "port": GRPC_PORT, "targetPort": http2},
        ]
        obj = _object(SERVICES, self.namespace, name, {"selector": {"app": ECHO}, "ports": ports})
        obj["metadata"]["annotations"] = {"networking.istio.io/exportTo": "."}
        await self.api.apply(SERVICES, obj, manager=MANAGER)

    async def ask(self, asks: Sequence[Ask]) -> list[Told]:
        """Send them all from the client's pod; in their order."""
        question = json.dumps([ask.to_json() for ask in asks]) + "\n"
        async with asyncio.timeout(_ASK_SECONDS):
            if self.line is None:
                answers = await asyncio.to_thread(run, self._client_command(), stdin=question, timeout=_ASK_SECONDS)
            else:
                answers = await _exchange(self.line, question)
        return [Told.from_json(answer) for answer in json.loads(answers)]

    def _client_command(self) -> list[str]:
        place = ["--kubeconfig", self.kubeconfig, "--namespace", self.namespace, f"deploy/{CLIENT}"]
        command = ["exec", "--stdin", *place, "--container", "app", "--", "python", f"{programs.FOLDER}/client.py"]
        return [program("kubectl"), *command]

    def _ports(self, role: str) -> tuple[int, int]:
        first = _FIRST_PORT + 2 * self.roles.index(role)
        return first, first + 1

    async def _start_echo(self) -> None:
        served = [
            {"port": port, "protocol": protocol, "who": role}
            for role in self.roles
            for port, protocol in zip(self._ports(role), ("http1", "http2"), strict=True)
        ]
        container = programs.container(self.image, "python", f"{programs.FOLDER}/echo.py", json.dumps(served))
        container["readinessProbe"] = {"httpGet": {"path": "/", "port": _FIRST_PORT}, "periodSeconds": 1}
        await self.run(ECHO, container, {"sidecar.istio.io/inject": "false"})

    async def _start_client(self) -> None:
        container = programs.container(self.image, "python", "-c", "import signal; signal.pause()")
        await self.run(CLIENT, container, {"sidecar.istio.io/inject": "true"})

    async def run(self, name: str, container: Object, labels: dict[str, str]) -> None:
        """A Deployment of one pod with this container; ready when this returns."""
        spec = {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name, **labels}},
                "spec": {
                    "containers": [container],
                    "volumes": [programs.volume()],
                    "terminationGracePeriodSeconds": 0,
                },
            },
        }
        await self.api.apply(DEPLOYMENTS, _object(DEPLOYMENTS, self.namespace, name, spec), manager=MANAGER)
        await until(lambda: self._is_ready(name), f"Deployment {self.namespace}/{name} has a ready pod", 120)

    async def _is_ready(self, name: str) -> bool:
        live = await self.api.get(DEPLOYMENTS, self.namespace, name)
        return live is not None and live.get("status", {}).get("readyReplicas", 0) > 0


async def _exchange(line: asyncio.subprocess.Process, question: str) -> str:
    assert line.stdin is not None
    assert line.stdout is not None
    line.stdin.write(question.encode())
    await line.stdin.drain()
    answer = await line.stdout.readline()
    assert answer, "the client has ended"
    return answer.decode()


def _object(resource: Resource, namespace: str, name: str, spec: Object) -> Object:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": spec}
