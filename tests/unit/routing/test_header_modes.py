"""Who a request is for, by any mode and keys: as the rules for a sidecar say, and as SDKs say of a record like it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidestream.config import HeaderMode, HeaderSettings
from sidestream.routing import headers as headers_module
from sidestream.routing.providers import virtualservice
from sidestream.routing.providers.virtualservice import VirtualServiceProvider
from sidestream.routing.table import Rule
from sidestream_sdk.baggage import HeaderRules, tenant_reader
from unit.routing.istio_model import Request, decide
from unit.routing.istio_things import mesh_entry, shop, tenant
from unit.routing.things import ORDERS_FQDN, to

TENANTS = ("alice", "bob", "zoe")
KEYS = ("tenant", "sd-key")
FEW: list[str] = []
CROWD = [f"crowd-{number}" for number in range(virtualservice.GUARDED_FROM)]
FORKS = {f"orders-{key}.shop.svc.cluster.local": key for key in TENANTS}

modes = st.sampled_from(list(HeaderMode))
keys_of = st.sampled_from([KEYS, KEYS[:1], KEYS[1:]])
crowds = st.sampled_from([FEW, CROWD])
blanks = st.sampled_from(["", " ", "\t "])
members = st.builds(
    lambda name, value, properties, before, after: f"{before}{name}{after}={before}{value}{after}{properties}",
    st.sampled_from([*KEYS, "x-tenant", "user"]),
    st.sampled_from(TENANTS),
    st.sampled_from(["", ";p=1", " ; tenant=bob"]),
    blanks,
    blanks,
)
baggage = st.lists(members | st.sampled_from(["", "nonsense"]), max_size=4).map(",".join)
requests = st.fixed_dictionaries({}, optional={"baggage": baggage, "x-tenant-id": st.sampled_from(TENANTS)})


def rules_for(header: HeaderSettings, crowd: list[str]) -> list[Rule]:
    """The rules of Service `orders`, which all tenants have forked."""
    tenants = sorted(tenant(key) for key in (*TENANTS, *crowd))
    (part,) = VirtualServiceProvider(header).render(mesh_entry({"route": [to(ORDERS_FQDN)]}), tenants, shop()).parts
    http: list[Rule] = part.obj["spec"]["http"]
    return http


def tenant_of(rules: list[Rule], headers: dict[str, str]) -> str | None:
    """Whose fork the request meets; None for the baseline."""
    decision = decide(rules, Request(headers=headers))
    assert decision is not None
    ((route, _),) = decision.shares
    return FORKS.get(json.loads(route)["destination"]["host"])


def check(headers: dict[str, str], mode: HeaderMode, keys: tuple[str, ...], crowd: list[str]) -> None:
    """A request with these headers and a record with them are for the same tenant."""
    header = HeaderSettings(mode, keys)
    record = tenant_reader(HeaderRules(mode.value, keys))(headers)
    assert tenant_of(rules_for(header, crowd), headers) == record.key


@settings(deadline=None)
@given(headers=requests, mode=modes, keys=keys_of, crowd=crowds)
def test_requests_go_where_records_go(
    headers: dict[str, str], mode: HeaderMode, keys: tuple[str, ...], crowd: list[str]
) -> None:
    check(headers, mode, keys, crowd)


CONFLICTS = {
    "the first key names the first in order": ({"baggage": "tenant=alice,sd-key=bob"}, "alice"),
    "the second key names the first in order": ({"baggage": "tenant=bob,sd-key=alice"}, "alice"),
    "one key twice": ({"baggage": "tenant=bob,tenant=alice"}, "alice"),
    "baggage names the first in order": ({"baggage": "tenant=alice", "x-tenant-id": "bob"}, "alice"),
    "the plain header names the first in order": ({"baggage": "tenant=bob", "x-tenant-id": "alice"}, "alice"),
    "a key that names nobody": ({"baggage": "tenant=,sd-key=zoe"}, "zoe"),
}


@pytest.mark.parametrize("crowd", [FEW, CROWD], ids=["few", "guarded"])
@pytest.mark.parametrize(("headers", "winner"), CONFLICTS.values(), ids=CONFLICTS)
def test_of_several_tenants_the_one_that_sorts_first_wins(
    headers: dict[str, str], winner: str, crowd: list[str]
) -> None:
    assert tenant_of(rules_for(HeaderSettings(HeaderMode.BOTH, KEYS), crowd), headers) == winner
    check(headers, HeaderMode.BOTH, KEYS, crowd)


@pytest.mark.parametrize("name", ["baggage_with", "baggage_naming"])
def test_a_key_that_is_forgotten_is_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = getattr(headers_module, name)
    monkeypatch.setattr(headers_module, name, lambda keys, *value: real(keys[:1], *value))

    with pytest.raises(AssertionError):
        check({"baggage": "sd-key=alice"}, HeaderMode.BAGGAGE, KEYS, CROWD)


def test_rules_in_another_order_than_that_of_keys_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    real = VirtualServiceProvider.render
    monkeypatch.setattr(
        VirtualServiceProvider,
        "render",
        lambda self, entry, tenants, cluster: real(self, entry, tenants[::-1], cluster),
    )

    with pytest.raises(AssertionError):
        check({"baggage": "tenant=bob,sd-key=alice"}, HeaderMode.BAGGAGE, KEYS, FEW)
