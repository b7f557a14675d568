"""How often Python looks for garbage that refers to itself."""

from __future__ import annotations

import gc
from typing import Final

_NEW_OBJECTS: Final = 50_000
_YOUNG_ROUNDS: Final = 20
_OLD_ROUNDS: Final = 20


def keep_many_objects() -> None:
    """Look seldom: for a process that keeps copies of thousands of the cluster's objects.

    Such copies are JSON, which never refers to itself, so nothing is to be found in them; and Python's own pace (every
    700 new objects) makes one large object that is read or written cost as much as walking through all copies.
    """
    gc.set_threshold(_NEW_OBJECTS, _YOUNG_ROUNDS, _OLD_ROUNDS)
