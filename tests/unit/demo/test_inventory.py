"""The shop's inventory: the demo counts by it who handled an order."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

APP = Path(__file__).parents[3] / "examples" / "shop" / "inventory" / "app.py"


@pytest.fixture
def inventory() -> ModuleType:
    """A module of its own for each test, as it keeps its orders in memory."""
    spec = importlib.util.spec_from_file_location("inventory_app", APP)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def reserve(inventory: ModuleType, order: str, version: str) -> None:
    hops = [inventory.Hop(service="orders", version="alice"), inventory.Hop(service="fulfilment", version=version)]
    inventory.reserve(inventory.NewReservation(order=order, item="pen", hops=hops))


def test_an_order_that_is_handled_twice_has_both_who_asked(inventory: ModuleType) -> None:
    reserve(inventory, "a-1", "alice")
    reserve(inventory, "a-1", "baseline")
    found = inventory.show("a-1")
    assert [hop.version for hop in found.asked_by] == ["alice", "baseline"]
    assert [hop.service for hop in found.hops] == ["orders", "fulfilment", "inventory"]


def test_orders_are_shown_by_how_their_names_begin(inventory: ModuleType) -> None:
    for order in ("a-1", "a-2", "b-1"):
        reserve(inventory, order, "baseline")
    assert [item.order for item in inventory.show_all(prefix="a-")] == ["a-1", "a-2"]
