"""Runs the lab's commands and turns every failure into a message and an exit code.

0 done, 1 not possible (the message says what to do), 2 wrong usage, 3 `status` found something down, 70 a bug of the
lab, 130 interrupted.
"""

import signal
import sys
import traceback
from types import FrameType

from sidestream_lab.cli import app
from sidestream_lab.errors import LabError
from sidestream_lab.paths import Layout
from sidestream_lab.shell import stop_all

IMPOSSIBLE, BUG, INTERRUPTED = 1, 70, 130


def main() -> int:
    """Run the command of this process's arguments; returns the exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app(prog_name="hack/lab")
    except LabError as error:
        _tell(f"Error: {error.message}", error.hint)
        return IMPOSSIBLE
    except SystemExit as end:
        if end.code != INTERRUPTED:
            raise
        stop_all()
        _tell("Interrupted.", "Run the same again: it goes on where it stopped.")
        return INTERRUPTED
    except Exception as bug:  # noqa: BLE001 - the last line of defence against a stack trace at a user's terminal
        log = Layout.from_environment().log("bug")
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(traceback.format_exc())
        _tell(f"Error: the lab has a bug: {type(bug).__name__}: {bug}", f"Please report it with {log}")
        return BUG
    return 0


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _tell(message: str, hint: str) -> None:
    print(message, file=sys.stderr)
    if hint:
        print(f"\n{hint}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
