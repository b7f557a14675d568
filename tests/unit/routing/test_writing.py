"""The writer of an entry's objects: what it writes, what it spares, and what it leaves to others."""

from __future__ import annotations

import pytest

from fakes.kube import FakeKubeApi
from sidestream.api.conditions import Reason
from sidestream.errors import ObjectRejectedError, TransientError
from sidestream.kube.port import VIRTUAL_SERVICES, Object, Resource
from sidestream.routing.entries import EntryKey, EntryKind
from sidestream.routing.ownership import marked
from sidestream.routing.plan import Plan
from sidestream.routing.providers.provider import Ident, Part
from sidestream.routing.steps import Step
from sidestream.routing.tenants import Standing
from sidestream.routing.writing import Writer
from unit.routing.test_results import verdict
from unit.routing.things import to, virtual_service

MESH = EntryKey(EntryKind.MESH, "shop", "orders")


class Notes:
    """A `Copy` that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def learn(self, resource: Resource, obj: Object) -> None:
        del resource
        self.told.append(f"learn {obj['metadata']['name']} {obj['metadata']['resourceVersion']}")

    def forget(self, resource: Resource, obj: Object) -> None:
        del resource
        self.told.append(f"forget {obj['metadata']['name']}")


class Scene:
    def __init__(self, *objects: Object) -> None:
        self.api = FakeKubeApi(*objects)
        self.copy = Notes()
        self.writer = Writer(self.api, self.copy)

    def plan(self, *parts: Part) -> Plan:
        held = {
            (VIRTUAL_SERVICES, "shop", obj["metadata"]["name"]): obj
            for obj in self.api.stored(VIRTUAL_SERVICES).values()
        }
        return Plan(
            MESH, parts={item.ident: item for item in parts}, held=held, verdicts=(verdict(Standing.ROUTED, None),)
        )

    @property
    def requests(self) -> list[str]:
        found = [str(item).removesuffix(" as sidestream-routing") for item in self.api.requests]
        self.api.forget_requests()
        return found


def part(name: str = "sidestream-orders", *keys: str, timeout: str = "1s") -> Part:
    obj = marked(VIRTUAL_SERVICES, MESH, "shop", name, {"http": [{"route": [to()], "timeout": timeout}]})
    return Part(VIRTUAL_SERVICES, obj, keys=frozenset(keys))


def step(*writes: Part, deletes: tuple[Ident, ...] = ()) -> Step:
    return Step(writes, deletes, is_last=True)


async def test_what_is_missing_is_written_and_the_copy_learns_of_it() -> None:
    scene = Scene()
    written = await scene.writer.write(scene.plan(part()), step(part()))
    assert written.has_written
    assert scene.requests == [
        "get virtualservices shop/sidestream-orders",
        "apply virtualservices shop/sidestream-orders",
    ]
    assert scene.copy.told == ["learn sidestream-orders 1001"]


async def test_what_is_as_it_should_be_is_not_written() -> None:
    scene = Scene()
    await scene.writer.write(scene.plan(part()), step(part()))
    scene.api.forget_requests()
    written = await scene.writer.write(scene.plan(part()), step(part()))
    assert not written.has_written
    assert scene.requests == []


async def test_what_a_hand_has_changed_is_written_again_though_it_is_the_same_part() -> None:
    scene, same = Scene(), part()
    await scene.writer.write(scene.plan(same), step(same))
    live = scene.api.live(VIRTUAL_SERVICES, "sidestream-orders")
    assert live is not None
    live["spec"]["http"] = []
    scene.api.seed(live)
    assert (await scene.writer.write(scene.plan(same), step(same))).has_written


async def test_what_somebody_else_has_made_by_now_is_not_taken_over() -> None:
    """The copy does not have it yet."""
    theirs = virtual_service("sidestream-orders", {"route": [to()]})
    scene = Scene()
    plan = scene.plan(part("sidestream-orders", "alice"))
    scene.api.seed(theirs)
    written = await scene.writer.write(plan, step(*plan.parts.values()))
    (refused,) = written.plan.verdicts
    assert (refused.standing, refused.reason) == (Standing.REFUSED, Reason.NAME_TAKEN)
    assert refused.message == "VirtualService shop/sidestream-orders was not made by Sidestream; rename or delete it"
    assert scene.api.writes == []


async def test_deletions_come_after_all_writes_and_only_of_the_object_that_was_read() -> None:
    scene = Scene(part("old").obj)
    plan = scene.plan(part("new"))
    ident = (VIRTUAL_SERVICES, "shop", "old")
    written = await scene.writer.write(plan, step(part("new"), deletes=(ident,)))
    assert [item for item in scene.requests if not item.startswith("get")] == [
        "apply virtualservices shop/new",
        "delete virtualservices shop/old",
    ]
    assert written.deleted == {"old": 0}
    assert scene.copy.told[-1] == "forget old"
    scene.api.seed(part("old").obj)
    await scene.writer.write(plan, step(deletes=(ident,)))
    assert scene.api.live(VIRTUAL_SERVICES, "old") is not None


REFUSALS = {"no rights": (403, Reason.UNAUTHORIZED), "a webhook": (422, Reason.ROUTE_CONFLICT)}


@pytest.mark.parametrize(("status", "reason"), REFUSALS.values(), ids=REFUSALS)
async def test_a_refusal_is_that_of_the_tenants_in_the_object(status: int, reason: Reason) -> None:
    scene = Scene()
    bobs, alices = part("bobs", "bob"), part("alices", "alice")
    scene.api.fail(ObjectRejectedError("no", status=status), verb="apply")
    written = await scene.writer.write(scene.plan(bobs, alices), step(bobs, alices))
    assert [item.standing for item in written.plan.verdicts] == [Standing.ROUTED]
    scene.api.fail(ObjectRejectedError("no", status=status), verb="apply")
    written = await scene.writer.write(scene.plan(bobs, part("others", "alice")), step(part("others", "alice")))
    (refused,) = written.plan.verdicts
    assert (refused.standing, refused.reason, refused.message) == (Standing.REFUSED, reason, "no")
    assert written.plan.parts


async def test_the_refusal_of_what_all_need_ends_the_writing() -> None:
    scene = Scene()
    guard, alices = part("guard"), part("alices", "alice")
    scene.api.fail(ObjectRejectedError("no", status=422), verb="apply")
    written = await scene.writer.write(scene.plan(guard, alices), step(guard, alices))
    assert written.plan.parts == {}
    assert scene.api.live(VIRTUAL_SERVICES, "alices") is None


async def test_an_api_server_that_is_away_is_no_refusal() -> None:
    scene = Scene()
    scene.api.fail(TransientError("away"), verb="apply")
    with pytest.raises(TransientError):
        await scene.writer.write(scene.plan(part()), step(part()))
