"""The orders that come in while the demo does something else."""

import threading

import pytest

from sidestream_demo.errors import DemoError
from sidestream_demo.stream import Stream


class Writer:
    """Remembers what is written; fails from record `fails_at` on."""

    def __init__(self, *, fails_at: int | None = None) -> None:
        self.written: list[tuple[str, dict[str, str]]] = []
        self.is_finished = False
        self.has_three = threading.Event()
        self._fails_at = fails_at

    def write(self, value: dict[str, str | int], headers: dict[str, str] | None = None) -> None:
        if len(self.written) == self._fails_at:
            self.has_three.set()
            raise BufferError("the queue is full")
        self.written.append((str(value["order"]), headers or {}))
        if len(self.written) == 3:
            self.has_three.set()

    def finish(self) -> None:
        self.is_finished = True


def run(writer: Writer) -> dict[str, str]:
    with Stream(writer, ("alice", "bob"), per_second=1000) as stream:
        assert writer.has_three.wait(10)
        return stream.stop()


def test_tenants_order_in_turn_under_names_of_their_own() -> None:
    writer = Writer()
    produced = run(writer)
    assert list(produced) == [order for order, _ in writer.written], "every order that was written is known"
    assert list(produced.values())[:3] == ["alice", "bob", "alice"]
    assert [headers for _, headers in writer.written[:2]] == [{"baggage": "tenant=alice"}, {"baggage": "tenant=bob"}]


def test_all_is_stored_once_it_has_stopped() -> None:
    writer = Writer()
    count = len(run(writer))
    assert writer.is_finished
    assert len(writer.written) == count


def test_two_streams_name_their_orders_differently() -> None:
    assert not run(Writer()).keys() & run(Writer()).keys()


def test_an_order_that_could_not_be_written_is_told() -> None:
    with pytest.raises(DemoError, match="the queue is full"):
        run(Writer(fails_at=2))
