"""Other programs and waiting: what the demo needs of both."""

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from sidestream_demo.errors import DemoError

POLL_SECONDS = 0.1

Found = TypeVar("Found")


def run(
    command: Sequence[str], *, stdin: str | None = None, env: Mapping[str, str] | None = None, timeout: float = 600
) -> str:
    """Run a program and return its standard output.

    Raises:
        DemoError: it is missing, failed, or took longer than `timeout` seconds; the text holds what it said.
    """
    try:
        done = subprocess.run(
            list(command), input=stdin, capture_output=True, text=True, check=False, env=env, timeout=timeout
        )
    except FileNotFoundError as missing:
        raise DemoError(f"The program {command[0]} is missing: install it, or put it on PATH.") from missing
    except subprocess.TimeoutExpired as late:
        raise DemoError(f"{' '.join(command)} took longer than {timeout:.0f} s and was stopped.") from late
    if done.returncode != 0:
        raise DemoError(f"{' '.join(command)} failed:\n{(done.stderr or done.stdout).strip()}")
    return done.stdout


def wait_until(ask: Callable[[], Found], timeout: float, what: str, *, every: float = POLL_SECONDS) -> Found:
    """Ask until the answer is true and return it; `what` completes "Waited N s for …"."""
    deadline = time.monotonic() + timeout
    while True:
        found = ask()
        if found:
            return found
        if time.monotonic() > deadline:
            raise DemoError(f"Waited {timeout:.0f} s for {what}.")
        time.sleep(every)
