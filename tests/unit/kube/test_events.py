from __future__ import annotations

from builders import FakeClock, kafka_cluster, sandbox
from fakes.kube import FakeKubeApi
from sidestream.errors import KubeError, TransientError
from sidestream.kube.events import EventRecorder
from sidestream.kube.port import EVENTS, KAFKA_CLUSTERS, SANDBOXES


async def test_an_event_tells_what_happened_to_which_object() -> None:
    api = FakeKubeApi()
    recorder = EventRecorder(api, FakeClock(), instance="sidestream-operator-0")
    await recorder.record(SANDBOXES, sandbox("alice"), "Normal", "ForkCreated", "Created orders-alice")
    ((name, event),) = api.stored(EVENTS).items()
    assert name.startswith("shop/alice.")
    assert event["regarding"] == {
        "apiVersion": "sidestream.dev/v1alpha1",
        "kind": "Sandbox",
        "namespace": "shop",
        "name": "alice",
        "uid": "uid-sandboxes-alice",
    }
    assert (event["type"], event["reason"], event["note"]) == ("Normal", "ForkCreated", "Created orders-alice")
    assert event["reportingInstance"] == "sidestream-operator-0"
    assert event["eventTime"] == "2026-01-01T00:00:00.000000Z"


async def test_two_events_of_one_object_do_not_clash() -> None:
    api = FakeKubeApi()
    recorder = EventRecorder(api, FakeClock())
    for _ in range(2):
        await recorder.record(SANDBOXES, sandbox("alice"), "Normal", "ForkCreated", "Created orders-alice")
    assert len(api.stored(EVENTS)) == 2


async def test_the_event_of_a_cluster_scoped_object_lives_in_default() -> None:
    api = FakeKubeApi()
    await EventRecorder(api, FakeClock()).record(KAFKA_CLUSTERS, kafka_cluster("main"), "Warning", "Unreachable", "x")
    assert [name.split("/")[0] for name in api.stored(EVENTS)] == ["default"]


async def test_a_long_note_is_cut_to_what_kubernetes_takes() -> None:
    api = FakeKubeApi()
    await EventRecorder(api, FakeClock()).record(SANDBOXES, sandbox("a" * 253), "Normal", "Told", "y" * 2000)
    (event,) = api.stored(EVENTS).values()
    assert len(event["note"]) == 1024
    assert len(event["metadata"]["name"]) <= 253


async def test_news_that_cannot_be_told_disturbs_nobody() -> None:
    for error in (TransientError("away"), KubeError("forbidden", status=403)):
        api = FakeKubeApi()
        api.fail(error)
        await EventRecorder(api, FakeClock()).record(SANDBOXES, sandbox("alice"), "Normal", "Told", "x")
        assert not api.stored(EVENTS)
