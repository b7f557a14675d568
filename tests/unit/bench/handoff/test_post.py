"""What a member of the hand-off's benchmark is told."""

import pytest

from bench.handoff.handled import BASELINE
from bench.handoff.post import Post


def post(version: str = BASELINE, number: int = 0) -> Post:
    return Post(version, number, "127.0.0.1:9092", "group", "orders", "http://here:80", "shop/orders", "/folder", lag=5)


def test_it_survives_the_command_line() -> None:
    assert Post.from_json(post().to_json()) == post()


@pytest.mark.parametrize(("version", "sandbox"), [(BASELINE, None), ("alice", "alice")])
def test_only_a_fork_has_a_sandbox(version: str, sandbox: str | None) -> None:
    assert post(version).identity.sandbox == sandbox


def test_of_two_members_one_commits_by_itself() -> None:
    assert [post(number=number).commits_itself for number in range(2)] == [False, True]
    assert len({post(number=number).file for number in range(2)}) == 2
