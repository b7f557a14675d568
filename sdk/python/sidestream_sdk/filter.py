"""The record loop's part: take or skip one record by the mapping in force. Pure but for its counts."""

from __future__ import annotations

from typing import Protocol

from sidestream_sdk.baggage import HeaderRules, Headers, tenant_reader
from sidestream_sdk.ownership import Mapping, TopicRule, rule_of
from sidestream_sdk.tally import ConsumerTally, TopicTally


class Record(Protocol):
    """What of a Kafka message the decision needs."""

    def topic(self) -> str | None:
        """The record's topic."""
        ...

    def headers(self) -> Headers | None:
        """The record's headers."""
        ...


class RecordFilter:
    """Decides for the baseline (`sandbox` None) or for one fork; give it each new mapping with `update`."""

    def __init__(self, *, sandbox: str | None, tally: ConsumerTally) -> None:
        self._sandbox = sandbox
        self._tally = tally
        self._header = HeaderRules()
        self._read = tenant_reader(self._header)
        self._topics: dict[str | None, tuple[TopicRule, TopicTally]] = {}
        self.mapping: Mapping | None = None

    def update(self, mapping: Mapping) -> None:
        """Decide by this mapping from now on."""
        if mapping.header != self._header:
            self._header = mapping.header
            self._read = tenant_reader(mapping.header)
        self._topics.clear()
        self.mapping = mapping

    def takes(self, record: Record) -> bool:
        """Whether the application gets this record."""
        topic = record.topic()
        known = self._topics.get(topic)
        rule, counts = known if known is not None else self._learn(topic)
        taken = rule.default
        # Where nobody claims anything, headers need no look: they cost most of the decision.
        if rule.exceptions:
            key, malformed, conflicts = self._read(record.headers())
            taken = (key in rule.exceptions) != taken
            if malformed or conflicts:
                counts.malformed += malformed
                counts.conflicts += conflicts
        if taken:
            counts.processed += 1
        else:
            counts.skipped += 1
        return taken

    def _learn(self, topic: str | None) -> tuple[TopicRule, TopicTally]:
        topics = self.mapping.topics if self.mapping is not None else {}
        name = topic or ""
        known = (rule_of(topics.get(name), sandbox=self._sandbox), self._tally.of(name))
        self._topics[topic] = known
        return known
