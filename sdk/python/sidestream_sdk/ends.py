"""Ask for the ends of logs beside the record loop: a broker answers only after a fetch that waits for records.

Where records come rarely that is half a second, in which the loop could hand out those of other partitions. A fence may
lie anywhere from the end as of the moment when it was asked for, so an answer that comes later is as good.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection
from typing import Final

from confluent_kafka import KafkaException

from sidestream_sdk.progress import Place

logger = logging.getLogger("sidestream_sdk")

Read = Callable[[Collection[Place]], dict[Place, int]]
Start = Callable[[Callable[[], None]], None]

LOOK_SECONDS: Final = 0.02
"""How soon to ask again for an answer that has not come yet."""


class Ends:
    """One consumer's; `read` may take long, and `start` runs it somewhere else (by default in a thread)."""

    def __init__(self, read: Read, start: Start | None = None) -> None:
        self._read = read
        self._start = start or self._in_thread
        self._thread: threading.Thread | None = None
        self._asked: frozenset[Place] | None = None
        self._found: dict[Place, int] | None = None
        self._is_void = False

    def of(self, places: Collection[Place]) -> dict[Place, int] | None:
        """The ends of these partitions, of which some may be missing; None while they are being read."""
        if self._asked is None:
            self._begin(frozenset(places))
        if self._found is None:
            return None
        asked, found, is_void = self._asked or frozenset(), self._found, self._is_void
        self._asked = self._found = None
        if is_void or not asked >= set(places):
            return self.of(places)
        return found

    def forget(self) -> None:
        """Partitions came or went: others may have handled records meanwhile, so what is being read is too old."""
        self._is_void = self._asked is not None

    def join(self) -> None:
        """Wait for what is being read: the consumer must not be closed meanwhile."""
        if self._thread is not None:
            self._thread.join()

    def _begin(self, places: frozenset[Place]) -> None:
        self._asked, self._is_void = places, False

        def read() -> None:
            found: dict[Place, int] = {}
            try:
                found = self._read(places)
            except (KafkaException, RuntimeError) as error:
                logger.debug("The ends of logs could not be read: %s", error)
            finally:
                # whatever went wrong, a question that is never answered would be waited for for ever
                self._found = found

        self._start(read)

    def _in_thread(self, read: Callable[[], None]) -> None:
        self._thread = threading.Thread(target=read, name="sidestream-ends", daemon=True)
        self._thread.start()
