"""The worker's side of `KafkaAdmin`: each verb as a call of Confluent's admin client, JSON in and JSON out.

Runs in the worker process only: this client has been seen to take its process down when brokers restart.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any, Final

from confluent_kafka import (
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka import KafkaError as Code
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # public, but not for its types

from sidestream.kafka.port import GroupState
from sidestream.kafka.scan import Search, scan
from sidestream.kafka.translation import NOT_KEPT, OFFSET_MISSING, OVERTAKEN, Failure, cause_of
from sidestream_sdk.baggage import HeaderRules, Headers, tenant_reader

Row = list[Any]
"""`[topic, partition]`, with an offset behind it where there is one; a committed one has a leader epoch (or null) and
metadata behind that."""

DEFAULTS: Final = {
    "allow.auto.create.topics": "false",
    "client.id": "sidestream-operator",
    # the library would tell every failed connection on standard error; it goes into the answer instead
    "log_level": "0",
    "reconnect.backoff.ms": "100",
    "reconnect.backoff.max.ms": "1000",
    "socket.keepalive.enable": "true",
}

_LATER: Final = 0.5
"""Seconds that we wait for an answer beyond the library's own deadline."""

_NO_LEADERS: Final = "_NOENT"
"""The library's code for offsets of partitions of which it knows no leader."""

_STATES: Final = {
    ConsumerGroupState.DEAD: GroupState.ABSENT,
    ConsumerGroupState.EMPTY: GroupState.EMPTY,
    ConsumerGroupState.PREPARING_REBALANCING: GroupState.PREPARING_REBALANCE,
    ConsumerGroupState.COMPLETING_REBALANCING: GroupState.COMPLETING_REBALANCE,
    ConsumerGroupState.STABLE: GroupState.STABLE,
}


class RefusedError(Exception):
    """A verb failed; `failure` goes to the parent process."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.name)
        self.failure = failure


class Deadline:
    """The moment, `seconds` from now, by which a verb has to be done, whatever the number of its calls."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds left; never so few that a call could not even be sent."""
        return max(self._end - time.monotonic(), 0.1)


class Verbs:
    """The verbs on one cluster; safe to call from several threads.

    Raises:
        KafkaException: the client library does not take this configuration.
    """

    def __init__(self, config: dict[str, str]) -> None:
        self._connection_errors: list[tuple[str, str]] = []
        self._lock = threading.Lock()
        self._settings: dict[str, Any] = {**DEFAULTS, **config, "error_cb": self._note}
        self._admin = AdminClient(self._settings)
        self._verbs: dict[str, Callable[..., Any]] = {
            "cluster": self._cluster,
            "topics": self._topics,
            "group": self._group,
            "group_names": self._group_names,
            "committed": self._committed,
            "ends": self._ends,
            "place": self._place,
            "scan": self._scan,
            "delete": self._delete,
        }

    def call(self, verb: str, args: dict[str, Any], timeout: float) -> Any:
        """Run one verb within `timeout` seconds.

        Raises:
            RefusedError: the cluster refused or did not answer.
        """
        self._admin.poll(0)
        try:
            result = self._verbs[verb](deadline=Deadline(timeout), **args)
        except KafkaException as error:
            raise RefusedError(self._failure(error.args[0])) from error
        except TimeoutError as error:
            raise RefusedError(Failure("_TIMED_OUT", "no answer from the client library", self._cause())) from error
        with self._lock:
            self._connection_errors.clear()
        return result

    def _note(self, error: Code) -> None:
        with self._lock:
            self._connection_errors = [*self._connection_errors[-31:], (error.name(), error.str())]

    def _failure(self, error: Code) -> Failure:
        return Failure(error.name(), error.str(), self._cause())

    def _cause(self) -> Any:
        self._admin.poll(0)  # hands what the library noticed meanwhile to `_note`
        with self._lock:
            return cause_of(self._connection_errors)

    def _cluster(self, *, deadline: Deadline) -> Any:
        found = _wait(self._admin.describe_cluster(request_timeout=deadline.left()), deadline)
        return {"id": found.cluster_id, "brokers": len(found.nodes)}

    def _topics(self, names: list[str], *, deadline: Deadline) -> Any:
        futures = self._admin.describe_topics(TopicCollection(names), request_timeout=deadline.left())
        found: dict[str, Any] = {}
        for name, future in futures.items():
            try:
                topic = _wait(future, deadline)
            except KafkaException as error:
                if error.args[0].code() != Code.UNKNOWN_TOPIC_OR_PART:
                    raise
                found[name] = None
            else:
                found[name] = {"id": str(topic.topic_id), "partitions": len(topic.partitions)}
        return found

    def _group(self, group: str, *, deadline: Deadline) -> Any:
        found = self._describe(group, deadline)
        if found is None:
            return {"state": str(GroupState.ABSENT), "members": []}
        members = [
            {
                "id": item.member_id,
                "client": item.client_id,
                "host": item.host,
                "instance": item.group_instance_id,
                "partitions": [[had.topic, had.partition] for had in item.assignment.topic_partitions],
            }
            for item in found.members
        ]
        return {"state": str(_state(found.state)), "members": members}

    def _group_names(self, *, deadline: Deadline) -> Any:
        found = _wait(self._admin.list_consumer_groups(request_timeout=deadline.left()), deadline)
        # a broker that did not answer leaves its groups out: half a list says nothing about what is not on it
        if found.errors:
            raise found.errors[0]
        return sorted(item.group_id for item in found.valid)

    def _describe(self, group: str, deadline: Deadline) -> Any:
        futures = self._admin.describe_consumer_groups([group], request_timeout=deadline.left())
        try:
            return _wait(futures[group], deadline)
        except KafkaException as error:
            # brokers from 4.0 on may say so instead of describing a dead group
            if error.args[0].code() == Code.GROUP_ID_NOT_FOUND:
                return None
            raise

    def _committed(self, group: str, partitions: list[Row] | None, *, deadline: Deadline) -> Any:
        # The library crashes on reading offsets while a coordinator moves, but not on describing the group: that
        # call fails decently, so it goes first.
        self._describe(group, deadline)
        asked = None if partitions is None else [TopicPartition(*row) for row in partitions]
        question = ConsumerGroupTopicPartitions(group, asked)
        futures = self._admin.list_consumer_group_offsets(
            [question], require_stable=True, request_timeout=deadline.left()
        )
        answer = _wait(futures[group], deadline)
        _raise_hidden(answer.topic_partitions)
        return [_row(item) for item in answer.topic_partitions if item.offset >= 0]

    def _ends(self, partitions: list[Row], end: str, *, deadline: Deadline) -> Any:
        untyped: Any = OffsetSpec
        spec = untyped.earliest() if end == "earliest" else untyped.latest()
        isolation = IsolationLevel.READ_COMMITTED if end == "stable" else IsolationLevel.READ_UNCOMMITTED
        futures = self._admin.list_offsets(
            {TopicPartition(*row): spec for row in partitions},
            isolation_level=isolation,
            request_timeout=deadline.left(),
        )
        try:
            found = [[item.topic, item.partition, _wait(future, deadline).offset] for item, future in futures.items()]
        except KafkaException as error:
            if error.args[0].name() == _NO_LEADERS:
                # which is all that the library says where no topic may be described; this says so
                self._topics(sorted({row[0] for row in partitions}), deadline=deadline)
            raise
        if any(offset < 0 for _, _, offset in found):
            raise RefusedError(Failure(OFFSET_MISSING, cause=self._cause()))
        return found

    def _place(self, group: str, positions: list[Row], over: list[Row] | None, *, deadline: Deadline) -> Any:
        partitions = [row[:2] for row in positions]
        if over is not None and _kept(self._committed(group, partitions, deadline=deadline)) != _kept(over):
            raise RefusedError(Failure(OVERTAKEN))
        change = ConsumerGroupTopicPartitions(group, [_position(*row) for row in positions])
        futures = self._admin.alter_consumer_group_offsets([change], request_timeout=deadline.left())
        _raise_hidden(_wait(futures[group], deadline).topic_partitions)
        if _kept(self._committed(group, partitions, deadline=deadline)) != _kept(positions):
            raise RefusedError(Failure(NOT_KEPT))

    def _scan(self, ranges: list[Row], header: dict[str, Any], keys: list[str], *, deadline: Deadline) -> Any:
        partitions = [row[:2] for row in ranges]
        earliest, stable = (
            {(topic, number): offset for topic, number, offset in self._ends(partitions, end, deadline=deadline)}
            for end in ("earliest", "stable")
        )
        searches = {
            (topic, number): Search.of(begin, end, earliest=earliest[topic, number], stable=stable[topic, number])
            for topic, number, begin, end in ranges
        }
        read, wanted = tenant_reader(HeaderRules.from_json(header)), frozenset(keys)

        def is_wanted(headers: Headers | None) -> bool:
            return read(headers).key in wanted

        scan(self._settings, searches, is_wanted, deadline.left)
        return [[*place, search.reached, search.found] for place, search in searches.items()]

    def _delete(self, group: str, *, deadline: Deadline) -> Any:
        futures = self._admin.delete_consumer_groups([group], request_timeout=deadline.left())
        try:
            _wait(futures[group], deadline)
        except KafkaException as error:
            if error.args[0].code() != Code.GROUP_ID_NOT_FOUND:
                raise


def _wait(future: Future[Any], deadline: Deadline) -> Any:
    return future.result(deadline.left() + _LATER)


def _raise_hidden(partitions: Iterable[TopicPartition]) -> None:
    """Raise the first error of a partition: the call as a whole succeeds even when every partition failed."""
    for item in partitions:
        if item.error is not None:
            raise KafkaException(item.error)


def _state(state: ConsumerGroupState) -> GroupState:
    return _STATES.get(state, GroupState.UNKNOWN)


def _position(topic: str, partition: int, offset: int, epoch: int | None, metadata: str) -> TopicPartition:
    if epoch is None:
        return TopicPartition(topic, partition, offset, metadata)
    return TopicPartition(topic, partition, offset, metadata, epoch)


def _row(item: TopicPartition) -> Row:
    return [item.topic, item.partition, item.offset, item.leader_epoch, item.metadata or ""]


def _kept(rows: list[Row]) -> list[Row]:
    """What has to read back: all but the leader epoch, which old brokers do not keep."""
    return sorted([topic, partition, offset, metadata] for topic, partition, offset, _, metadata in rows)
