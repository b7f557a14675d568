"""How the demo counts who handled which order, and what it takes for a broken promise."""

import pytest

from sidestream_demo.accounts import Account, accounts, check_accounts
from sidestream_demo.errors import BrokenPromiseError

ALICE = Account("alice", produced=3, by_fork=2, by_baseline=1, by_both=0, by_nobody=0)
BOB = Account("bob", produced=2, by_fork=0, by_baseline=2, by_both=0, by_nobody=0)


def test_each_order_is_counted_once_for_its_tenant() -> None:
    produced = {"o-0": "bob", "o-1": "alice", "o-2": "alice", "o-3": "alice", "o-4": "alice"}
    handled = {
        "o-0": ["baseline"],
        "o-1": ["alice"],
        "o-2": ["baseline"],
        "o-3": ["alice", "baseline"],
        "somebody else's": ["alice"],
    }
    assert accounts(produced, handled) == (
        Account("alice", produced=4, by_fork=1, by_baseline=1, by_both=1, by_nobody=1),
        Account("bob", produced=1, by_fork=0, by_baseline=1, by_both=0, by_nobody=0),
    )


def test_orders_that_were_handled_by_one_version_each_pass() -> None:
    check_accounts([ALICE, BOB], "alice")


@pytest.mark.parametrize(
    ("found", "told"),
    [
        pytest.param(Account("alice", 3, 1, 1, 1, 0), "of 3 orders of alice 1 were handled by both", id="doubled"),
        pytest.param(Account("alice", 3, 1, 1, 0, 1), "0 were handled by both and 1 by nobody", id="lost"),
        pytest.param(Account("bob", 2, 0, 1, 0, 1), "of 2 orders of bob", id="lost for somebody else"),
        pytest.param(Account("bob", 2, 1, 1, 0, 0), "alice's, but it handled 1 orders of bob", id="not the fork's"),
        pytest.param(Account("alice", 3, 0, 3, 0, 0), "the fork handled 0 of them", id="never at the fork"),
        pytest.param(Account("alice", 3, 3, 0, 0, 0), "and the baseline 0", id="never back at the baseline"),
    ],
)
def test_anything_else_is_a_broken_promise_with_its_numbers(found: Account, told: str) -> None:
    with pytest.raises(BrokenPromiseError) as broken:
        check_accounts([found], "alice")
    assert told in str(broken.value)
