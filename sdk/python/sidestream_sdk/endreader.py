"""Read the ends of logs by a client of its own, so that the consumer itself is called by one thread only.

confluent-kafka lets one thread at a time into a consumer. Another one looks each millisecond whether it may come in,
and beside a loop that polls without a pause it may never find it free (docs/decisions/0018). A connection of its own
has no fetch on it either, which would have to end before the broker answers anything else.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from confluent_kafka import OFFSET_END, Consumer

from sidestream_sdk.plain import offsets_of
from sidestream_sdk.progress import Place

ANSWER_SECONDS: Final = 10.0
"""Connections are made anew for each question, with whatever it takes to be let in."""

_APPLICATIONS: Final = frozenset(
    {"error_cb", "throttle_cb", "stats_cb", "statistics.interval.ms", "on_commit", "logger", "group.instance.id"}
)
"""Settings that tell the application of its consumer, or the broker of a member; `oauth_cb` has to stay."""


class EndReader:
    """`settings` are those of the consumer whose partitions it is asked about; it joins no group."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        own = {name: value for name, value in settings.items() if name not in _APPLICATIONS}
        self._settings = {**own, "enable.auto.commit": False}

    def read(self, places: Collection[Place]) -> dict[Place, int]:
        """The ends of these partitions' logs just now; those that could not be read are missing.

        Raises:
            KafkaException: none could be read.
        """
        reader = Consumer(self._settings)
        try:
            return offsets_of(reader, places, OFFSET_END, ANSWER_SECONDS)
        finally:
            reader.close()
