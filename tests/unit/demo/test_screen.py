"""Tables as the demo shows them."""

import io

from rich.console import Console

from sidestream_demo.accounts import Account
from sidestream_demo.fences import Fence
from sidestream_demo.screen import Screen


def test_what_is_not_known_of_a_fence_is_a_dash() -> None:
    shown = io.StringIO()
    Screen(Console(file=shown, width=100)).fences([Fence("alice", "orders", 2, "Hold", 10, 12, None)])
    assert shown.getvalue().split() == [
        *("tenant", "topic", "partition", "state", "from", "hold", "until"),
        *("alice", "orders", "2", "Hold", "10", "12", "-"),
    ]


def test_an_account_is_a_line_of_numbers_on_an_ordinary_terminal() -> None:
    shown = io.StringIO()
    Screen(Console(file=shown, width=80)).accounts([Account("alice", 9, 4, 5, 0, 0)])
    _, line = shown.getvalue().splitlines()
    assert line.split() == ["alice", "9", "4", "5", "0", "0"]
