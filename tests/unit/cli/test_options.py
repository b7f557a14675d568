"""Which headers the programs are told of, by command line or environment."""

from __future__ import annotations

from typing import Any

import pytest
from typer.testing import CliRunner

from sidestream import app as operator_app
from sidestream.cli.main import app
from sidestream.config import HeaderMode, HeaderSettings
from sidestream.mapping import service

GIVEN: dict[str, tuple[list[str], dict[str, str], HeaderSettings]] = {
    "nothing": ([], {}, HeaderSettings()),
    "one key": (["--baggage-key", "team"], {}, HeaderSettings(baggage_keys=("team",))),
    "a key twice": (["--baggage-key=a", "--baggage-key=b"], {}, HeaderSettings(baggage_keys=("a", "b"))),
    "keys with commas": (["--baggage-key", "b,a"], {}, HeaderSettings(baggage_keys=("b", "a"))),
    "a variable": ([], {"SIDESTREAM_BAGGAGE_KEYS": "team"}, HeaderSettings(baggage_keys=("team",))),
    "a variable with commas": ([], {"SIDESTREAM_BAGGAGE_KEYS": "b,a"}, HeaderSettings(baggage_keys=("b", "a"))),
    "a variable with blanks": ([], {"SIDESTREAM_BAGGAGE_KEYS": " b, a , "}, HeaderSettings(baggage_keys=("b", "a"))),
    "an empty variable": ([], {"SIDESTREAM_BAGGAGE_KEYS": ""}, HeaderSettings()),
    "the command line before the variable": (
        ["--baggage-key=a"],
        {"SIDESTREAM_BAGGAGE_KEYS": "b"},
        HeaderSettings(baggage_keys=("a",)),
    ),
    "everything": (
        ["--header-mode=both", "--header-name=x-team"],
        {"SIDESTREAM_BAGGAGE_KEYS": "team,tenant"},
        HeaderSettings(HeaderMode.BOTH, ("team", "tenant"), "x-team"),
    ),
}


@pytest.mark.parametrize(
    ("program", "module", "function"),
    [("operator", operator_app, "run_operator"), ("mapping", service, "serve")],
    ids=["operator", "mapping"],
)
@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
def test_the_program_knows_its_headers(
    program: str,
    module: Any,
    function: str,
    given: tuple[list[str], dict[str, str], HeaderSettings],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments, variables, expected = given
    told: list[HeaderSettings] = []

    async def take(settings: Any) -> None:
        told.append(settings.header)

    monkeypatch.setattr(module, function, take)
    monkeypatch.setattr(f"sidestream.cli.{program}.configure_logging", lambda **_: None)
    done = CliRunner().invoke(app, [program, *arguments], env=variables)

    assert done.exit_code == 0, done.output
    assert told == [expected]
