"""Ask for the ends of logs beside the record loop, which can hand out records of other partitions meanwhile.

A fence may lie anywhere from the end as of the moment when it was asked for, so an answer that comes later is as good.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from confluent_kafka import KafkaException

from sidestream_sdk.progress import Place

logger = logging.getLogger("sidestream_sdk")

Read = Callable[[Collection[Place]], dict[Place, int]]
Start = Callable[[Callable[[], None]], None]

LOOK_SECONDS: Final = 0.02
"""How soon to ask again for an answer that has not come yet."""

PATIENCE_SECONDS: Final = 30.0
"""After so long without an answer, though reading has a deadline of its own, the same is asked once more."""


@dataclass
class _Question:
    """`found` is None until it is answered; `is_void` once its answer would be too old."""

    places: frozenset[Place]
    at: float
    found: dict[Place, int] | None = None
    is_void: bool = False


class Ends:
    """One consumer's; `read` may take long, and `start` runs it somewhere else (by default in a thread)."""

    def __init__(
        self, read: Read, start: Start | None = None, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._start = start or _in_thread
        self._monotonic = monotonic
        self._question: _Question | None = None

    def of(self, places: Collection[Place]) -> dict[Place, int] | None:
        """The ends of these partitions, of which some may be missing; None while they are being read."""
        question = self._question
        if question is not None and question.found is None and self._is_late(question):
            logger.warning("The ends of logs have not been read for %.0f s, asking once more.", PATIENCE_SECONDS)
            question = None
        if question is None:
            question = self._begin(frozenset(places))
        if question.found is None:
            return None
        self._question = None
        if question.is_void or not question.places >= set(places):
            return self.of(places)
        return question.found

    def forget(self) -> None:
        """Partitions came or went: others may have handled records meanwhile, so what is being read is too old."""
        if self._question is not None:
            self._question.is_void = True

    def _is_late(self, question: _Question) -> bool:
        return self._monotonic() - question.at >= PATIENCE_SECONDS

    def _begin(self, places: frozenset[Place]) -> _Question:
        question = self._question = _Question(places, self._monotonic())

        def read() -> None:
            found: dict[Place, int] = {}
            try:
                found = self._read(places)
            except (KafkaException, RuntimeError) as error:
                logger.debug("The ends of logs could not be read: %s", error)
            finally:
                # whatever went wrong, a question that is never answered would hold the acknowledgement up
                question.found = found

        self._start(read)
        return question


def _in_thread(read: Callable[[], None]) -> None:
    threading.Thread(target=read, name="sidestream-ends", daemon=True).start()
