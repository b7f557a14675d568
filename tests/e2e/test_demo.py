"""The demo, chapter by chapter, against the same cluster: what a newcomer is shown is what holds."""

import io
from collections.abc import Iterator

import pytest
from rich.console import Console

from sidestream_demo import shop as place
from sidestream_demo.cluster import Cluster
from sidestream_demo.environment import Environment
from sidestream_demo.errors import BrokenPromiseError
from sidestream_demo.forward import PortForward
from sidestream_demo.kafka import Kafka
from sidestream_demo.screen import Screen
from sidestream_demo.shop import Shop
from sidestream_demo.story import Story
from sidestream_demo.traffic import check, place_order, promised


@pytest.fixture(scope="module")
def shop(environment: Environment, cluster: Cluster, kafka: Kafka, images: dict[str, str]) -> Iterator[Shop]:
    shop = Shop(cluster, kafka, images["shop"], environment.kafka_inside(cluster))
    shop.remove_sandbox()
    shop.deploy()
    yield shop
    shop.remove()


def test_a_tenants_requests_and_records_take_their_own_way_and_nothing_is_left(shop: Shop) -> None:
    shown = io.StringIO()
    Story(shop, Screen(Console(file=shown, width=200))).tell(keep=False)
    assert "storefront -> orders(alice) -> Kafka -> fulfilment(alice) -> inventory" in shown.getvalue()
    assert "storefront -> orders -> Kafka -> fulfilment -> inventory" in shown.getvalue()
    lines = [line.split() for line in shown.getvalue().splitlines()]
    begun = [line for line in lines if line[:2] == [place.SANDBOX, place.TOPIC] and "From" in line]
    assert len(begun) == place.PARTITIONS, "every partition says from which record on it is the fork's"
    assert "Each order by one version" in shown.getvalue()


def test_the_demo_fails_when_a_hop_is_not_as_promised(shop: Shop) -> None:
    with PortForward(shop.cluster, place.NAMESPACE, "service/storefront", 8080) as storefront:
        trip = place_order(storefront, place.SANDBOX)
    with pytest.raises(BrokenPromiseError, match=r"promised: storefront\(baseline\) -> orders\(alice\)"):
        check(trip, promised(place.SANDBOX, ("orders",), place.SANDBOX))
