"""What `WorkerAdmin` asks of its worker, and the right it names; the answers are tried on a broker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sidestream.kafka.client import WorkerAdmin
from sidestream.kafka.port import Scanned, TopicPartition
from sidestream.kafka.translation import Deed
from sidestream_sdk.baggage import HeaderRules


class Recorder:
    """A `Caller` with one answer."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.calls: list[tuple[str, Mapping[str, Any], Deed]] = []

    async def call(self, verb: str, args: Mapping[str, Any], deed: Deed) -> Any:
        self.calls.append((verb, args, deed))
        return self.answer

    async def aclose(self) -> None:
        """Nothing is open."""


async def test_a_scan_needs_to_read_its_topics_and_no_group() -> None:
    caller = Recorder([["t", 0, 7, True], ["u", 1, 9, False]])
    ranges = {TopicPartition("u", 1): (2, 9), TopicPartition("t", 0): (4, 8)}
    found = await WorkerAdmin(caller).scan(ranges, HeaderRules("both", ("team", "tenant"), "x-team"), ["b", "a"])
    assert found == {TopicPartition("t", 0): Scanned(7, found=True), TopicPartition("u", 1): Scanned(9, found=False)}
    ((verb, args, deed),) = caller.calls
    assert (verb, deed) == ("scan", Deed("read topics t, u", "Read", topics=("t", "u")))
    assert args["ranges"] == [["t", 0, 4, 8], ["u", 1, 2, 9]]
    assert args["keys"] == ["a", "b"]
    assert HeaderRules.from_json(args["header"]) == HeaderRules("both", ("team", "tenant"), "x-team")
