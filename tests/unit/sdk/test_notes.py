from __future__ import annotations

import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sidestream_sdk.notes import MAX_BYTES, Kind, Notes, size_of

texts = st.text(st.characters(exclude_categories=["Cs"]).filter(lambda char: char != "\0"), max_size=40)
acks = st.dictionaries(texts, st.dictionaries(st.sampled_from(Kind), st.integers(0, 2**63 - 1), min_size=1), max_size=4)
notes = st.builds(Notes, version=st.integers(1, 2**63 - 1), epoch=texts, acks=acks, app=texts)


@given(notes)
def test_what_is_written_is_read_again(written: Notes) -> None:
    assert Notes.parse(written.encode()) == written


@given(texts)
def test_metadata_of_an_application_alone_stays_as_it_is(text: str) -> None:
    assume(not text.startswith('{"ss":'))

    read = Notes.parse(text)

    assert read == Notes(app=text)
    assert read.encode() == text


@given(
    texts | st.recursive(st.none() | st.integers() | texts, lambda inner: st.dictionaries(texts, inner)).map(json.dumps)
)
def test_whatever_stands_there_is_read_as_something(text: str) -> None:
    read = Notes.parse('{"ss":' + text)

    assert read.app == '{"ss":' + text or read.version or read.acks or read.epoch is not None


def test_notes_that_are_nested_too_deep_are_foreign() -> None:
    text = '{"ss":1,"v":1,"e":"","a":' + '{"a":' * 100_000

    assert Notes.parse(text) == Notes(app=text)


def test_the_first_acknowledgement_of_a_kind_stays() -> None:
    first = Notes().with_ack("c1", Kind.FROM, 10).with_ack("c1", Kind.AWARE, 1)

    again = first.with_ack("c1", Kind.FROM, 20).with_ack("c2", Kind.FROM, 30)

    assert again.acks == {"c1": {Kind.FROM: 10, Kind.AWARE: 1}, "c2": {Kind.FROM: 30}}
    assert again.find("c1", Kind.FROM) == 10
    assert again.find("c1", Kind.HOLD) is None
    assert again.find("c3", Kind.FROM) is None


@pytest.mark.parametrize(
    ("before", "version", "epoch", "after"),
    [
        pytest.param(Notes(5, "a"), 7, "a", (7, "a"), id="a newer mapping"),
        pytest.param(Notes(7, "a"), 5, "a", (7, "a"), id="an older mapping"),
        pytest.param(Notes(7, "a"), 5, "b", (5, "b"), id="of another installation"),
    ],
)
def test_a_version_never_goes_back_within_an_installation(
    before: Notes, version: int, epoch: str, after: tuple[int, str]
) -> None:
    now = before.at(version, epoch)

    assert (now.version, now.epoch) == after


def test_what_was_promised_to_another_installation_is_void() -> None:
    promised = Notes(7, "a", {"c1": {Kind.FROM: 10}}, "the application's")

    assert promised.of("a") == promised
    assert promised.of("b") == Notes(app="the application's")


def test_size_is_counted_in_bytes_and_leaves_one_for_the_end_of_the_text() -> None:
    assert size_of("é") == 2
    assert MAX_BYTES == 4095
