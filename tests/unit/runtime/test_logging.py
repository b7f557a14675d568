from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from sidestream.runtime.logging import configure_logging


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_json_has_one_object_a_line_for_us_and_for_libraries() -> None:
    out = io.StringIO()
    configure_logging(as_json=True, stream=out)
    structlog.get_logger("sidestream.test").info("route written", key="shop/orders", tenants=2)
    logging.getLogger("kopf.activities").warning("something %s", "odd", extra={"attempt": 3})
    ours, theirs = (json.loads(line) for line in out.getvalue().splitlines())
    assert {name: ours[name] for name in ("event", "key", "tenants", "level", "logger")} == {
        "event": "route written",
        "key": "shop/orders",
        "tenants": 2,
        "level": "info",
        "logger": "sidestream.test",
    }
    assert ours["timestamp"].endswith("Z")
    assert (theirs["event"], theirs["level"], theirs["attempt"]) == ("something odd", "warning", 3)


def test_a_traceback_stays_on_its_line_in_json() -> None:
    out = io.StringIO()
    configure_logging(as_json=True, stream=out)
    try:
        json.loads("{")
    except ValueError:
        structlog.get_logger("sidestream.test").exception("unexpected")
    (line,) = out.getvalue().splitlines()
    assert "JSONDecodeError" in json.loads(line)["exception"]


def test_people_get_columns_without_colours_in_a_file() -> None:
    out = io.StringIO()
    configure_logging(as_json=False, stream=out)
    structlog.get_logger("sidestream.test").warning("route written", key="shop/orders")
    assert "route written" in out.getvalue()
    assert "key=shop/orders" in out.getvalue()
    assert "\x1b[" not in out.getvalue()


def test_what_is_below_the_level_or_chatty_is_left_out() -> None:
    out = io.StringIO()
    configure_logging(as_json=True, level="info", stream=out)
    structlog.get_logger("sidestream.test").debug("too fine")
    logging.getLogger("kopf.objects").info("handled")
    logging.getLogger("httpx").info("GET 200")
    assert out.getvalue() == ""


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="LOUD"):
        configure_logging(as_json=True, level="loud", stream=io.StringIO())
