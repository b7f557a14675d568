"""Signals to processes in other pods, from a pod that sees the node's: the way to freeze or kill what runs as PID 1."""

import signal
from dataclasses import dataclass

from sidestream.kube.port import NAMESPACES, PODS, Object
from sidestream_demo.cluster import Cluster, is_condition

NAMESPACE = "e2e-node"
POD = "hands"

KILL = """
import os, pathlib, sys
pattern, number = sys.argv[1].encode(), int(sys.argv[2])
found = 0
for file in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    try:
        words = file.read_bytes().replace(b"\\0", b" ")
    except OSError:
        continue
    if pattern in words and int(file.parent.name) != os.getpid() and b"os, pathlib" not in words:
        os.kill(int(file.parent.name), number)
        found += 1
print(found)
"""


@dataclass(frozen=True)
class Node:
    """The only node of a small cluster."""

    cluster: Cluster
    image: str

    def start(self) -> None:
        """Start the pod that signals are sent from; needs a cluster that lets pods see the node's processes."""
        self.cluster.apply(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        self.cluster.apply(PODS, self._pod())
        self.cluster.wait(PODS, NAMESPACE, POD, is_condition("Ready"), timeout=60)

    def stop(self) -> None:
        """Remove it."""
        self.cluster.delete(NAMESPACES, "", NAMESPACE)

    def signal(self, command: str, number: signal.Signals) -> int:
        """Signal every process whose command line holds `command`; returns how many there were."""
        run = ("exec", "--namespace", NAMESPACE, POD, "--", "python", "-c", KILL, command, str(number.value))
        return int(self.cluster.kubectl(*run))

    def _pod(self) -> Object:
        container = {
            "name": "hands",
            "image": self.image,
            "command": ["python", "-c", "import signal; signal.sigwait([signal.SIGTERM])"],
            "securityContext": {"runAsUser": 0},
        }
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": POD, "namespace": NAMESPACE},
            "spec": {"hostPID": True, "terminationGracePeriodSeconds": 1, "containers": [container]},
        }
