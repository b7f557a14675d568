"""One replica of the mapping service as a process on this machine, and the consumers that ask it."""

import json
import os
import re
import selectors
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import httpx

from sidestream_demo.errors import DemoError
from sidestream_demo.process import wait_until

START_SECONDS = 60.0
_WAITERS = re.compile(r"^sidestream_mapping_waiters (\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Replica:
    """A running `sidestream mapping`."""

    url: str
    pid: int

    def waiters(self) -> int:
        """How many requests wait for a change."""
        found = _WAITERS.search(httpx.get(f"{self.url}/metrics").text)
        return int(found[1]) if found else 0

    def wait_for_waiters(self, count: int, timeout: float) -> None:
        """Wait until so many requests wait."""
        wait_until(lambda: self.waiters() == count, timeout, f"{count} requests to wait for a change", every=0.2)


@contextmanager
def replica(kubeconfig: Path) -> Iterator[Replica]:
    """Start one on a free port and wait until it is ready."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "SIDESTREAM_LOG_LEVEL": "warning"}
    with running("sidestream", "mapping", "--http-port", str(port), environment=environment) as process:
        wait_until(lambda: _is_ready(url) or process.poll() is not None, START_SECONDS, "the mapping service")
        if process.poll() is not None:
            raise DemoError(f"The mapping service ended with {process.returncode}.")
        yield Replica(url, process.pid)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


class Pollers:
    """The running load generator."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self._selector = selectors.DefaultSelector()
        assert process.stdout is not None  # noqa: S101 - it was asked for
        self._output = process.stdout
        self._selector.register(self._output, selectors.EVENT_READ)

    def moments(self, timeout: float) -> list[float]:
        """When each consumer got the mapping that all of them got last."""
        if not self._selector.select(timeout):
            raise DemoError(f"Not all consumers had the new mapping after {timeout:.0f} s.")
        line = self._output.readline()
        if not line:
            raise DemoError("The consumers' process ended; what it said is above.")
        found: list[float] = json.loads(line)
        return found


@contextmanager
def pollers(url: str, count: int) -> Iterator[Pollers]:
    """Start so many consumers of the mapping at `url`."""
    with running("bench.pollers", url, str(count), environment=dict(os.environ)) as process:
        yield Pollers(process)


@contextmanager
def running(
    module: str, *arguments: str, environment: Mapping[str, str], log: Path | None = None
) -> "Iterator[subprocess.Popen[bytes]]":
    """A program of ours until the end of the context; what it tells people goes to the file `log`, if there is one."""
    command = [sys.executable, "-m", module, *arguments]
    with (
        log.open("ab") if log is not None else nullcontext() as errors,
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(START_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").is_success
    except httpx.TransportError:
        return False
