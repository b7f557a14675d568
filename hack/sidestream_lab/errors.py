"""What the lab tells a person when it cannot go on: what is wrong, and what to do about it."""

from pathlib import Path


class LabError(Exception):
    """An error that a user can act on.

    `message` says what is wrong and where; `hint` says what to do, in the imperative, and may hold several lines.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class CommandFailed(LabError):  # noqa: N818 - it says what happened
    """A program ended with an exit code other than 0, or ran longer than it may.

    `code` is the exit code, None after a timeout; `tail` holds the last lines that the program wrote; `log` names the
    file with everything, where one was asked for.
    """

    def __init__(self, command: str, code: int | None, tail: str, log: Path | None) -> None:
        outcome = "took too long and was stopped" if code is None else f"ended with exit code {code}"
        indented = "".join(f"\n    {line}" for line in tail.splitlines())
        super().__init__(f"{command}\n  {outcome}{':' if indented else ''}{indented}", f"Read {log}" if log else "")
        self.command = command
        self.code = code
        self.tail = tail
        self.log = log
