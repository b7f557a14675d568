"""What is remembered of proofs: until when they hold, and since when others are awaited."""

from __future__ import annotations

import pytest

from sidestream.routing.ledger import ASK_AGAIN_SECONDS, AT_ONCE, Ledger
from sidestream.routing.proof import NOT_ASKED, Claim, Evidence, Proof

PROVEN = Proof(Evidence.PROVEN)
NOT_YET = Proof(Evidence.NOT_YET)
AWAY = Proof(Evidence.UNKNOWN, "the prober is away")


def claim(name: str = "a", config_hash: str | None = "1") -> Claim:
    return Claim(name, config_hash, ())


def ledger_of(*noted: tuple[Claim, Proof, float], since: float = 0.0) -> Ledger:
    found = Ledger()
    found.expect({item.name: item for item, _, _ in noted}.values(), since)
    for item, proof, now in noted:
        found.note(item, proof, now)
    return found


def names(claims: list[Claim]) -> list[str]:
    return [item.name for item in claims]


def test_what_is_new_is_asked_for_and_awaited_from_then_on() -> None:
    ledger = Ledger()
    ledger.expect([claim()], 10.0)
    assert ledger.proof("a") == NOT_ASKED
    assert names(ledger.due([claim()], 10.0)) == ["a"]
    assert ledger.waited("a", 13.0) == 3.0


def test_what_nobody_expects_is_not_known() -> None:
    assert Ledger().proof("a") == NOT_ASKED
    assert Ledger().waited("a", 1.0) is None


def test_a_proof_ends_the_wait() -> None:
    ledger = ledger_of((claim(), PROVEN, 1.0))
    assert ledger.proof("a") == PROVEN
    assert ledger.waited("a", 2.0) is None
    assert ledger.due([claim()], 2.0) == []


def test_what_stays_as_it_is_keeps_its_proof_and_its_wait() -> None:
    ledger = ledger_of((claim("a"), PROVEN, 1.0), (claim("b"), NOT_YET, 1.0))
    ledger.expect([claim("a"), claim("b")], 5.0)
    assert ledger.proof("a") == PROVEN
    assert ledger.waited("b", 6.0) == 6.0


@pytest.mark.parametrize("now_wanted", ["2", None], ids=["changed", "to be gone"])
def test_what_is_to_be_otherwise_is_awaited_anew(now_wanted: str | None) -> None:
    ledger = ledger_of((claim(), PROVEN, 1.0))
    ledger.expect([claim("a", now_wanted)], 7.0)
    assert ledger.proof("a") == NOT_ASKED
    assert ledger.waited("a", 8.0) == 1.0


def test_what_is_expected_no_more_is_forgotten() -> None:
    ledger = ledger_of((claim(), PROVEN, 1.0))
    ledger.expect([], 2.0)
    ledger.expect([claim()], 3.0)
    assert ledger.proof("a") == NOT_ASKED


def test_an_old_proof_is_asked_for_again() -> None:
    ledger = ledger_of((claim(), PROVEN, 1.0))
    assert ledger.due([claim()], 1.0 + ASK_AGAIN_SECONDS - 0.1) == []
    assert names(ledger.due([claim()], 1.0 + ASK_AGAIN_SECONDS)) == ["a"]


def test_of_many_old_proofs_the_oldest_are_asked_for_first_and_only_some_at_once() -> None:
    claims = [claim(f"{number:03}") for number in range(AT_ONCE + 10)]
    ledger = ledger_of(*((item, PROVEN, 100.0 - number) for number, item in enumerate(claims)))
    found = names(ledger.due(claims, 200.0))
    assert found == [item.name for item in reversed(claims)][:AT_ONCE]


def test_all_that_is_unproven_is_asked_for_however_much_it_is() -> None:
    claims = [claim(f"{number:03}") for number in range(AT_ONCE + 10)]
    ledger = ledger_of(*((item, NOT_YET, 1.0) for item in claims))
    assert len(ledger.due(claims, 1.0)) == AT_ONCE + 10


def test_a_lost_proof_is_awaited_from_when_the_loss_was_seen() -> None:
    ledger = ledger_of((claim(), PROVEN, 1.0), (claim(), NOT_YET, 30.0), (claim(), NOT_YET, 33.0))
    assert ledger.proof("a") == NOT_YET
    assert ledger.waited("a", 35.0) == 5.0


def test_when_nobody_can_be_asked_any_more_what_was_proven_awaits_nothing() -> None:
    ledger = ledger_of((claim(), PROVEN, 1.0), (claim(), AWAY, 30.0))
    assert ledger.proof("a") == AWAY
    assert ledger.waited("a", 40.0) is None
    assert names(ledger.due([claim()], 31.0)) == ["a"]


def test_when_nobody_can_be_asked_at_all_the_wait_goes_on() -> None:
    ledger = ledger_of((claim(), NOT_YET, 1.0), (claim(), AWAY, 4.0))
    assert ledger.waited("a", 9.0) == 9.0
