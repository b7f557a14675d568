"""How the demo judges the way that a request took."""

import pytest

from sidestream_demo.errors import BrokenPromiseError
from sidestream_demo.traffic import Hop, Trip, check, describe, headers_of, promised

FORKS = ("orders", "fulfilment")


def trip(*versions: str) -> Trip:
    services = ("storefront", "orders", "fulfilment", "inventory")
    hops = tuple(Hop(service, version) for service, version in zip(services, versions, strict=False))
    return Trip("alice", "o-1", hops, 0.1)


def test_a_tenants_request_is_promised_its_forks_and_nothing_else() -> None:
    assert describe(promised("alice", FORKS, "alice")) == (
        "storefront(baseline) -> orders(alice) -> Kafka -> fulfilment(alice) -> inventory(baseline)"
    )


def test_everybody_elses_request_is_promised_the_baseline() -> None:
    assert {hop.version for hop in promised(None, FORKS, "alice")} == {"baseline"}


def test_a_request_that_kept_to_its_way_passes() -> None:
    check(trip("baseline", "alice", "alice", "baseline"), promised("alice", FORKS, "alice"))


@pytest.mark.parametrize(
    "versions",
    [
        pytest.param(("baseline", "baseline", "alice", "baseline"), id="fell back to the baseline over HTTP"),
        pytest.param(("baseline", "alice", "baseline", "baseline"), id="fell back to the baseline behind Kafka"),
        pytest.param(("baseline", "alice", "alice", "alice"), id="met a fork that is nobody's"),
        pytest.param(("baseline", "alice", "alice"), id="did not arrive"),
        pytest.param((), id="was seen by nobody"),
    ],
)
def test_any_other_way_is_a_broken_promise_that_shows_both(versions: tuple[str, ...]) -> None:
    seen = trip(*versions)
    with pytest.raises(BrokenPromiseError) as broken:
        check(seen, promised("alice", FORKS, "alice"))
    assert "orders(alice) -> Kafka -> fulfilment(alice)" in str(broken.value)
    assert f"seen:     {describe(seen.hops)}" in str(broken.value)


def test_a_tenant_is_named_in_baggage_and_nobody_in_nothing() -> None:
    assert headers_of("alice") == {"baggage": "tenant=alice"}
    assert headers_of(None) == {}
