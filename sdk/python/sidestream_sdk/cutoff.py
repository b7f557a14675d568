"""Whether a member may still take itself for one: the zombie rule.

Neither commits nor the mapping working for as long as a session lasts may mean that others have its partitions, under
a mapping that it does not know. It hands out nothing then, until one of both works again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from sidestream_sdk.commits import Commits

logger = logging.getLogger("sidestream_sdk")

PROVE_SECONDS: Final = 1.0
"""How often a member that hands out nothing tries to commit."""


class CutOff:
    """One consumer's. `age` is that of its mapping in seconds, `prove` tries to commit; `session` is in seconds."""

    def __init__(
        self, commits: Commits, age: Callable[[], float | None], prove: Callable[[], None], session: float
    ) -> None:
        self._commits = commits
        self._age = age
        self._prove = prove
        self._session = session
        self._was = False
        self._prove_due = 0.0

    def look(self, now: float) -> bool:
        """Whether it is cut off as of now."""
        since = self._commits.failing_since
        is_cut_off = since is not None and now - since > self._session and (self._age() or 0) > self._session
        if is_cut_off and not self._was:
            logger.warning("Neither commits nor the mapping have worked for a session: no record is handed out.")
            self._prove_due = 0.0
        if is_cut_off and now >= self._prove_due:
            self._prove_due = now + PROVE_SECONDS
            self._prove()
            is_cut_off = self._commits.failing_since is not None
        if self._was and not is_cut_off:
            logger.warning("The broker or the mapping service is back: records are handed out again.")
        self._was = is_cut_off
        return is_cut_off
