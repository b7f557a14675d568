"""Running other programs: their output goes to logs, their failures become messages.

`Toolbox` binds docker, kind, kubectl and helm to one lab, so that no call can reach the user's own engine or cluster by
mistake.
"""

import os
import shlex
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TypedDict, Unpack

from sidestream_lab.errors import CommandFailed, LabError
from sidestream_lab.paths import Layout, World

TAIL_LINES = 15
_running: set[subprocess.Popen[bytes]] = set()
_running_lock = threading.Lock()


class Options(TypedDict, total=False):
    """What each of the toolbox's programs takes besides its arguments; see `run`."""

    cwd: Path | None
    stdin: str | IO[bytes] | None
    log: Path | None
    timeout: float | None


def run(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | IO[bytes] | None = None,
    log: Path | None = None,
    timeout: float | None = None,
) -> str:
    """Run a program and return what it wrote to standard output.

    `env` is added to the environment of the lab; `stdin` is a text, an open file, or nothing; `log` receives the
    command and all that it writes, while it writes it; `timeout` is in seconds.

    Raises:
        CommandFailed: the exit code is not 0, or the time is over.
        LabError: there is no such program.
    """
    command = [str(part) for part in argv]
    with ExitStack() as stack:
        sink = _open_log(log, command, stack)
        try:
            process = subprocess.Popen(
                command,
                env={**os.environ, **(env or {})},
                cwd=cwd,
                stdin=_open_stdin(stdin, stack),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except FileNotFoundError as missing:
            raise LabError(f"The program {command[0]} is missing", "Install it, or put it on PATH.") from missing
        with _running_lock:
            _running.add(process)
        try:
            collector = _Collector(sink)
            code = _collect(process, collector, timeout)
        finally:
            with _running_lock:
                _running.discard(process)
    if code != 0:
        tail = b"".join(collector.tail).decode(errors="replace").strip()
        raise CommandFailed(shlex.join(command), code, tail, log)
    return b"".join(collector.output).decode(errors="replace")


def stop_all() -> None:
    """End every program that `run` is waiting for, so that an interrupted lab leaves none behind."""
    with _running_lock:
        for process in _running:
            process.terminate()


def _open_log(log: Path | None, command: list[str], stack: ExitStack) -> IO[bytes] | None:
    if log is None:
        return None
    log.parent.mkdir(parents=True, exist_ok=True)
    sink = stack.enter_context(log.open("ab", buffering=0))
    sink.write(f"$ {shlex.join(command)}\n".encode())
    return sink


def _open_stdin(stdin: str | IO[bytes] | None, stack: ExitStack) -> IO[bytes] | int:
    if stdin is None:
        return subprocess.DEVNULL
    if not isinstance(stdin, str):
        return stdin
    spool: IO[bytes] = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
    spool.write(stdin.encode())
    spool.seek(0)
    return spool


@dataclass
class _Collector:
    """Reads both outputs of a program as they come: all goes to the log, standard output to the caller."""

    sink: IO[bytes] | None
    output: list[bytes] = field(default_factory=list)
    tail: deque[bytes] = field(default_factory=lambda: deque(maxlen=TAIL_LINES))

    def pump(self, stream: IO[bytes], *, keep: bool) -> threading.Thread:
        """Start reading a stream to its end."""
        thread = threading.Thread(target=self._read, args=(stream, keep), daemon=True)
        thread.start()
        return thread

    def _read(self, stream: IO[bytes], keep: bool) -> None:  # noqa: FBT001 - a thread's target takes positions
        with stream:
            for line in stream:
                self.tail.append(line)
                if keep:
                    self.output.append(line)
                if self.sink is not None:
                    self.sink.write(line)


def _collect(process: subprocess.Popen[bytes], collector: _Collector, timeout: float | None) -> int | None:
    """Wait for the program; its exit code, or None when the time was over."""
    streams = ((process.stdout, True), (process.stderr, False))
    pumps = [collector.pump(stream, keep=keep) for stream, keep in streams if stream is not None]
    try:
        code: int | None = process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        code = None
    except BaseException:
        process.kill()
        raise
    for thread in pumps:
        # A child that went into the background may hold the stream open for ever.
        thread.join(timeout=5)
    return code


@dataclass(frozen=True)
class Toolbox:
    """The programs that act on one lab; each takes arguments and the options of `run`, and returns standard output."""

    layout: Layout
    world: World

    @property
    def environment(self) -> dict[str, str]:
        """What a program needs in its environment to act on this lab."""
        common = {
            "PATH": f"{self.layout.bin}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "KUBECONFIG": str(self.layout.kubeconfig),
            "KIND_EXPERIMENTAL_DOCKER_NETWORK": self.layout.name,
        }
        match self.world:
            case World.USER:
                return common
            case World.OWN:
                return common | {
                    "DOCKER_HOST": self.layout.docker_host,
                    "DOCKER_CONFIG": str(self.layout.docker_client_config),
                    "DOCKER_CONTEXT": "",
                    "DOCKER_BUILDKIT": "0",
                    "KIND_EXPERIMENTAL_PROVIDER": "docker",
                }

    def docker(self, *arguments: str | Path, **options: Unpack[Options]) -> str:
        """Run docker against the lab's engine, which is the user's own in World.USER."""
        return self._run("docker", arguments, options)

    def kind(self, *arguments: str | Path, **options: Unpack[Options]) -> str:
        """Run kind."""
        return self._run("kind", arguments, options)

    def kubectl(self, *arguments: str | Path, **options: Unpack[Options]) -> str:
        """Run kubectl against the lab's cluster."""
        return self._run("kubectl", arguments, options)

    def helm(self, *arguments: str | Path, **options: Unpack[Options]) -> str:
        """Run helm against the lab's cluster."""
        return self._run("helm", arguments, options)

    def _run(self, program: str, arguments: Sequence[str | Path], options: Options) -> str:
        own = self.layout.bin / program
        return run([own if own.exists() else program, *arguments], env=self.environment, **options)
