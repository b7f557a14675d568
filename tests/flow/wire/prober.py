"""The prober as the chart runs it, in a pod with a proxy of the mesh, asked from within its pod."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

from flow.wire.peers import Peers
from sidestream.errors import TransientError
from sidestream.routing.entries import Door
from sidestream_demo.environment import program
from sidestream_demo.process import run

NAME = "prober"

_ASKING = """
import json, sys
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, build_opener

try:
    question = urlencode(json.loads(sys.argv[1]))
    answer = build_opener(ProxyHandler({})).open(f"http://127.0.0.1:8080/probe?{question}", timeout=30)
except HTTPError as error:
    answer = error
print(answer.read().decode())
"""


async def start_prober(peers: Peers) -> None:
    """Ready when this returns."""
    container = {
        "name": "app",
        "image": peers.image,
        "command": ["sidestream", "prober"],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "10m"}},
    }
    await peers.run(NAME, container, {"sidecar.istio.io/inject": "true"})


@dataclass(frozen=True)
class PodProber:
    """Asks the prober in its pod; a `sidestream.routing.proof.Prober`."""

    peers: Peers

    async def ask(self, door: Door, name: str) -> tuple[str | None, ...]:
        """See `Prober.ask`."""
        question = {"host": door.host, "port": str(door.port), "name": name}
        if door.is_gateway:
            question |= {"gateway": door.address, "tls": str(door.is_tls).lower()}
        place = ["--kubeconfig", self.peers.kubeconfig, "--namespace", self.peers.namespace, f"deploy/{NAME}"]
        command = ["exec", *place, "--container", "app", "--", "python", "-c", _ASKING, json.dumps(question)]
        answer = json.loads(await asyncio.to_thread(run, [program("kubectl"), *command]))
        if "hashes" not in answer:
            raise TransientError(str(answer["detail"]))
        return tuple(answer["hashes"])
