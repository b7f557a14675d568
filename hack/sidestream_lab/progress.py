"""What a person sees while steps run: a live table on a terminal, plain lines with a heartbeat everywhere else."""

import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

HEARTBEAT_SECONDS = 30.0
_TAIL_BYTES = 4096


class Progress(Protocol):
    """Where the runner tells what it does; called from several threads."""

    def started(self, name: str, why: str, seconds: float) -> None:
        """A step begins that typically takes `seconds`."""

    def ended(self, name: str, seconds: float) -> None:
        """It is done, after `seconds`."""

    def failed(self, name: str, seconds: float) -> None:
        """It went wrong, after `seconds`."""


@dataclass(frozen=True)
class _Running:
    name: str
    why: str
    typical: float
    begin: float

    def elapsed(self) -> float:
        return time.monotonic() - self.begin


class PlainProgress(AbstractContextManager["PlainProgress"]):
    """One line when a step starts and ends, and one every 30 s in between with the last line of its log."""

    def __init__(self, log: Callable[[str], Path], say: Callable[[str], None] | None = None) -> None:
        self._log = log
        self._say = say or _print_line
        self._running: dict[str, _Running] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        """Begin to show."""
        self._heart.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """End the heartbeat."""
        self._over.set()
        self._heart.join()

    def started(self, name: str, why: str, seconds: float) -> None:
        """See Progress."""
        with self._lock:
            self._running[name] = _Running(name, why, seconds, time.monotonic())
        self._say(f"{name}: {why} (about {duration(seconds)})")

    def ended(self, name: str, seconds: float) -> None:
        """See Progress."""
        self._forget(name)
        self._say(f"{name}: done in {duration(seconds)}")

    def failed(self, name: str, seconds: float) -> None:
        """See Progress."""
        self._forget(name)
        self._say(f"{name}: failed after {duration(seconds)}")

    def _forget(self, name: str) -> None:
        with self._lock:
            self._running.pop(name, None)

    def _beat(self) -> None:
        while not self._over.wait(HEARTBEAT_SECONDS):
            with self._lock:
                running = list(self._running.values())
            for step in running:
                self._say(_heartbeat(step, last_line(self._log(step.name))))


class LiveProgress(AbstractContextManager["LiveProgress"]):
    """A table of what runs, refreshed in place; what has ended scrolls up as a line."""

    def __init__(self, log: Callable[[str], Path], console: Console) -> None:
        self._log = log
        self._console = console
        self._running: dict[str, _Running] = {}
        self._lock = threading.Lock()
        self._live = Live(get_renderable=self._table, console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        """Begin to show."""
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Take the table away."""
        self._live.stop()

    def started(self, name: str, why: str, seconds: float) -> None:
        """See Progress."""
        with self._lock:
            self._running[name] = _Running(name, why, seconds, time.monotonic())

    def ended(self, name: str, seconds: float) -> None:
        """See Progress."""
        self._close(name, "[green]done[/]", seconds)

    def failed(self, name: str, seconds: float) -> None:
        """See Progress."""
        self._close(name, "[red]failed[/]", seconds)

    def _close(self, name: str, outcome: str, seconds: float) -> None:
        with self._lock:
            step = self._running.pop(name)
        self._console.print(f"{outcome} {name} [dim]{escape(step.why)}[/] in {duration(seconds)}", highlight=False)

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2), expand=True)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        table.add_column(no_wrap=True, justify="right")
        with self._lock:
            running = list(self._running.values())
        for step in running:
            table.add_row(step.name, escape(step.why), f"{duration(step.elapsed())} of about {duration(step.typical)}")
            table.add_row("", f"[dim]{escape(last_line(self._log(step.name)))}[/]", "")
        return table


def progress_for(console: Console, log: Callable[[str], Path]) -> PlainProgress | LiveProgress:
    """The live table where the output is a terminal, else plain lines."""
    return LiveProgress(log, console) if console.is_terminal else PlainProgress(log)


def duration(seconds: float) -> str:
    """Seconds as a person says them: "0.4 s", "12 s", "6 min 45 s"."""
    if seconds < 1:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def last_line(file: Path) -> str:
    """The last line with something on it of a log that may not exist yet."""
    try:
        with file.open("rb") as log:
            log.seek(max(0, file.stat().st_size - _TAIL_BYTES))
            lines = log.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _heartbeat(step: _Running, line: str) -> str:
    told = f"; {line[:100]}" if line else ""
    return f"{step.name}: {duration(step.elapsed())} of about {duration(step.typical)}{told}"


def _print_line(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
