"""The rebalance callbacks of a consumer, around those of the application."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from sidestream_sdk.member import Member
from sidestream_sdk.plain import place_of
from sidestream_sdk.subscription import RebalanceCallback


class Rebalances:
    """One consumer's; `is_incremental`: partitions come and go one by one (cooperative, KIP-848)."""

    def __init__(self, member: Member, *, is_incremental: bool) -> None:
        self.is_running = False
        """Whether the group is handing out partitions at this moment."""
        self.is_assigned = False
        """Whether the application has assigned them itself meanwhile."""
        self._member = member
        self._is_incremental = is_incremental

    def around(self, callbacks: Mapping[str, Any]) -> dict[str, Any]:
        """The callbacks to subscribe with; those of the application that are None were not given."""
        on_revoke = callbacks.get("on_revoke")
        return {
            **callbacks,
            "on_assign": self._assigning(callbacks.get("on_assign")),
            "on_revoke": self._revoking(on_revoke, self._revoked),
            "on_lost": self._revoking(callbacks.get("on_lost", on_revoke), self._lost),
        }

    def _assigning(self, callback: RebalanceCallback | None) -> RebalanceCallback:
        def assign(consumer: Consumer, partitions: list[TopicPartition]) -> None:
            self._member.partitions.prepare(partitions)
            self.is_running, self.is_assigned = True, False
            try:
                if callback is not None:
                    callback(consumer, partitions)
                if not self.is_assigned and self._is_incremental:
                    consumer.incremental_assign(partitions)
                elif not self.is_assigned:
                    consumer.assign(partitions)
            except BaseException:
                # the base class assigns then, and raises this out of `poll`
                self._member.added(partitions)
                raise
            finally:
                self.is_running = False
                self._member.partitions.settle_in()

        return assign

    def _revoking(
        self, callback: RebalanceCallback | None, leave: Callable[[list[TopicPartition], Callable[[], None]], None]
    ) -> RebalanceCallback:
        def revoke(consumer: Consumer, partitions: list[TopicPartition]) -> None:
            def tell() -> None:
                if callback is not None:
                    callback(consumer, partitions)

            try:
                leave(partitions, tell)
            finally:
                self._member.removed([place_of(item) for item in partitions])

        return revoke

    def _revoked(self, partitions: list[TopicPartition], tell: Callable[[], None]) -> None:
        member = self._member
        member.commit_skipped()
        offsets = member.commits.how_far([place_of(item) for item in partitions])
        tell()
        member.commits.commit_last(offsets)

    def _lost(self, _: list[TopicPartition], tell: Callable[[], None]) -> None:
        tell()
