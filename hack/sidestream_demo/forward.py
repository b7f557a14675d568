"""`kubectl port-forward`, the ordinary way from a developer's machine to a Service in the cluster."""

import re
import subprocess
import threading
from contextlib import AbstractContextManager
from types import TracebackType
from typing import IO

from sidestream_demo.cluster import Cluster
from sidestream_demo.errors import DemoError
from sidestream_demo.process import wait_until

START_SECONDS = 30.0


class PortForward(AbstractContextManager[str]):
    """Leads to a port of a pod or Service; entering it gives the URL where it is reached from here."""

    def __init__(self, cluster: Cluster, namespace: str, target: str, port: int) -> None:
        self._command = cluster.kubectl_command("--namespace", namespace, "port-forward", target, f":{port}")
        self._process: subprocess.Popen[str] | None = None
        self._listener: threading.Thread | None = None
        self._said: list[str] = []

    def __enter__(self) -> str:
        """Start it and wait until it listens."""
        self._process = process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if process.stdout is not None:
            self._listener = threading.Thread(target=self._listen, args=(process.stdout,), daemon=True)
            self._listener.start()
        wait_until(lambda: self._local_port() or process.poll() is not None, START_SECONDS, "kubectl port-forward")
        port = self._local_port()
        if port is None:
            raise DemoError(f"{' '.join(self._command)} failed: {' '.join(self._said).strip()}")
        return f"http://127.0.0.1:{port}"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Stop it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
        if self._listener is not None:
            self._listener.join()

    def _listen(self, output: IO[str]) -> None:
        """Read to the end, or the program would block when the pipe is full."""
        with output:
            self._said.extend(output)

    def _local_port(self) -> int | None:
        for line in list(self._said):
            if match := re.search(r"Forwarding from 127\.0\.0\.1:(\d+)", line):
                return int(match.group(1))
        return None
