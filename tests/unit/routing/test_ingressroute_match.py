"""The language of IngressRoutes' rules: what is read as Traefik reads it, what is refused, and what rules can match."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings

from sidestream.routing.providers.ingressroute_match import (
    And,
    Condition,
    Match,
    Not,
    Or,
    condition,
    conditions_of,
    negation,
    parsed,
)
from sidestream.routing.providers.ingressroute_scope import scope_of
from sidestream.routing.providers.ingressroute_tokens import MatchError
from unit.routing.examples import LOOK
from unit.routing.traefik_model import Request, holds
from unit.routing.traefik_things import matches, requests

HOST = Condition("Host", ("a.b",))
PATH = Condition("Path", ("/x",))
GET = Condition("Method", ("GET",))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Host(`a.b`)", HOST),
        ('Host("a.b")', HOST),
        (" host( `a.b` )\n", HOST),
        ("HOST(`a.b`)", HOST),
        (r'Host("\x61.\u0062")', HOST),
        ("Host(`*.A.b`)", Condition("HostRegexp", (r"^[^.]+\.a\.b\.?$",))),
        ("Host(`*`)", Condition("HostRegexp", ("^.",))),
        ("Host(`*a.b`)", Condition("Host", ("*a.b",))),
        ("Hostregexp(`a`)", Condition("HostRegexp", ("a",))),
        ("Query(`a`, `b`)", Condition("Query", ("a", "b"))),
        ("Query(`a`)", Condition("Query", ("a",))),
        ("Host(`a.b`) || Path(`/x`) && Method(`GET`)", Or(HOST, And(PATH, GET))),
        ("(Host(`a.b`) || Path(`/x`)) && Method(`GET`)", And(Or(HOST, PATH), GET)),
        ("!Host(`a.b`) && Path(`/x`)", And(Not(HOST), PATH)),
        ("!!(Host(`a.b`))", Not(Not(HOST))),
        ("Host(`a.b`) &&\n  Path(`/x`)", And(HOST, PATH)),
        ("Header(`x`, `a && (b`)", Condition("Header", ("x", "a && (b"))),
    ],
)
def test_a_rule_is_read_as_traefik_reads_it(text: str, expected: Match) -> None:
    assert parsed(text) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "a condition is expected at the end"),
        ("Host(`a.b`", "')' is expected at the end"),
        ("Host(`a.b`))", "nothing can follow before ')'"),
        ("Host(`a.b`) Path(`/x`)", "nothing can follow before 'Path'"),
        ("Host(`a.b`)\n&& Path(`/x`)", "a line ends where the rule could end, and goes on after it"),
        ("Hosts(`a.b`)", "Hosts is no condition of Traefik 3"),
        ("Headers(`a`, `b`)", "Headers is no condition of Traefik 3"),
        ("Host(`a`, `b`)", "Host takes 1 strings, not 2"),
        ("Query(`a`, `b`, `c`)", "Query takes 1 or 2 strings, not 3"),
        ("Host(``)", "Host has an empty string"),
        ("Path(`x`)", "Path(`x`) does not begin with a slash"),
        ("Host(`ä.b`)", "Host(`ä.b`) is not ASCII"),
        ("Host(a)", "a string is expected at 'a'"),
        ("Host(`a.b`) // mine", "'// mine' is no part of a rule"),
        ("Host('a.b')", "\"'a.b')\" is no part of a rule"),
        ("ClientIP(`10.0.0.0/99`)", "ClientIP(`10.0.0.0/99`) is no address and no range"),
        (
            "PathRegexp(`^/(?!api)`)",
            'the regular expression `^/(?!api)` of PathRegexp is not valid: "invalid perl operator: (?!"',
        ),
        ("HostRegexp(`(`)", 'the regular expression `(` of HostRegexp is not valid: "missing ): ("'),
        (r'Host("\q")', r'the string "\q" has escapes that are not known'),
    ],
)
def test_what_traefik_does_not_take_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(MatchError) as refused:
        parsed(text)
    assert str(refused.value) == why


@LOOK
@given(text=matches, request=requests)
def test_the_negation_holds_where_the_rule_does_not(text: str, request: Request) -> None:
    assert holds(negation(parsed(text)), request) is not holds(text, request)


@LOOK
@given(one=matches, other=matches, request=requests)
def test_rules_that_match_one_request_overlap(one: str, other: str, request: Request) -> None:
    if holds(one, request) and holds(other, request):
        assert scope_of(parsed(one)).overlaps(scope_of(parsed(other)))


@settings(LOOK, max_examples=200)
@given(text=matches)
def test_in_a_negation_no_host_stands_for_which_traefik_would_seek_a_certificate(text: str) -> None:
    assert not any(found.name == "Host" for found in conditions_of(parsed(negation(parsed(text)))))


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ("Host(`a.b`)", "Host(`A.b.`)", True),
        ("Host(`a.b`)", "Host(`c.d`)", False),
        ("Host(`a.b`)", "HostRegexp(`.*`)", True),
        ("Host(`a.b`)", "Host(`*.b`)", True),
        ("Host(`a.b`) || Host(`c.d`)", "Host(`c.d`)", True),
        ("Host(`a.b`) && Path(`/x`)", "PathPrefix(`/x/`)", False),
        ("Path(`/x/y`)", "PathPrefix(`/x/`)", True),
        ("PathPrefix(`/x`)", "PathPrefix(`/xy`)", True),
        ("PathPrefix(`/x`)", "PathPrefix(`/y`)", False),
        ("Path(`/x`)", "Path(`/x`)", True),
        ("Method(`get`)", "Method(`GET`)", True),
        ("Method(`GET`)", "Method(`PUT`)", False),
        ("!Host(`a.b`)", "Host(`c.d`)", True),
        ("!Host(`a.b`) && Host(`c.d`)", "Host(`a.b`)", False),
        ("Header(`x`, `1`)", "Header(`x`, `2`)", True),
    ],
)
def test_rules_are_told_apart_by_host_path_and_method(one: str, other: str, *, overlap: bool) -> None:
    assert scope_of(parsed(one)).overlaps(scope_of(parsed(other))) is overlap


@pytest.mark.parametrize("value", ["plain", "[ \\t]*", "a`b", 'a"b`\\', "a\rb", "ä`"])
def test_strings_are_written_so_that_they_are_read_again(value: str) -> None:
    written = condition("Header", "x", value)
    if re.fullmatch(r"[ -~]*", value):
        assert parsed(written) == Condition("Header", ("x", value))
    else:
        # Go knows the escape, which this reader has no need of
        assert "\\U" in written or "`" in written
