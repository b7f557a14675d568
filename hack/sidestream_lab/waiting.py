"""Waiting for a condition, with a deadline and a clear word when it does not come true."""

import time
from collections.abc import Callable

from sidestream_lab.errors import LabError


def wait_until(
    condition: Callable[[], bool], *, seconds: float, what: str, hint: str = "", every: float = 0.25
) -> None:
    """Ask `condition` every so many seconds until it is true; a LabError from it counts as not yet.

    Raises:
        LabError: `what`, as in "Kafka does not answer", still holds after `seconds`; tells what went wrong last.
    """
    deadline = time.monotonic() + seconds
    while True:
        trouble = ""
        try:
            if condition():
                return
        except LabError as error:
            trouble = f":\n{error.message}"
        if time.monotonic() >= deadline:
            raise LabError(f"{what} after {seconds:.0f} s{trouble}", hint)
        time.sleep(every)
