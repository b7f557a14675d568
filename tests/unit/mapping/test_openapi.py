"""The service keeps to its own OpenAPI document, whatever it is asked and in whatever state it is."""

from __future__ import annotations

from typing import Any

import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import negative_data_rejection

from builders import FakeClock, claiming, fence, in_phase, kafka_consumer, kafka_route, sandbox
from sidestream.api.kafka import KafkaConsumer
from sidestream.api.sandbox import Sandbox
from sidestream.config import HeaderSettings
from sidestream.kube.reviews import Access, Caller
from sidestream.mapping.answers import Header
from sidestream.mapping.directory import Directory, Workload
from sidestream.mapping.gate import Gate, TokenGate
from sidestream.mapping.keeping import keep_route, read_claim
from sidestream.mapping.service import create_app
from sidestream.mapping.waiting import WaitingRoom
from sidestream.runtime.reconcile import ObjectKey

EXISTING = {"namespace": "shop", "deployment": "fulfilment", "key": "alice"}

fuzzed = settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


class Hurried(FakeClock):
    """A clock on which nobody has to wait."""

    async def sleep(self, seconds: float) -> None:
        self.move(seconds)


class World:
    """One consumer with a polled fork and a fenced one, or nothing yet."""

    version = 4711

    def __init__(self, *, listed: bool = True) -> None:
        self.directory = Directory(Header.of(HeaderSettings())) if listed else None
        if self.directory is not None:
            self.directory.put_consumer(ObjectKey("shop", "orders"), KafkaConsumer.from_json(kafka_consumer()))
            self.directory.put_route(
                ObjectKey("shop", "alice"), read_claim(keep_route(kafka_route("alice", in_phase("Active"))))
            )
            fenced = kafka_route("bob", in_phase("Active"), claiming("c1", "bob", {0: fence("From", begin=12)}))
            self.directory.put_route(ObjectKey("shop", "bob"), read_claim(keep_route(fenced)))
            self.directory.put_sandbox(ObjectKey("shop", "alice"), Sandbox.from_json(sandbox("alice")))

    def why_not_ready(self) -> str | None:
        return None if self.directory else "sandboxes have not been listed yet"

    def etag_of(self, workload: Workload) -> str | None:
        encoded = self.directory.consumer(workload) if self.directory else None
        return encoded.etag if encoded else None


class Strict:
    """An authority that knows one token, whose owner may do nothing."""

    async def caller_of(self, token: str) -> Caller | None:
        return Caller("system:serviceaccount:elsewhere:nobody") if token == "known" else None

    async def may(self, caller: Caller, access: Access) -> bool:
        del caller, access
        return False


def document_of(world: World, *, room: int = 10, gate: Gate | None = None) -> schemathesis.schemas.BaseSchema:
    app = create_app(world, WaitingRoom(Hurried(), world.etag_of, limit=room), gate)
    return schemathesis.openapi.from_asgi("/openapi.json", app)


ordinary = document_of(World())
starting = document_of(World(listed=False))
guarded = document_of(World(), gate=TokenGate(Strict(), Hurried()))
crowded = document_of(World(), room=0)


@ordinary.parametrize()
@fuzzed
def test_whatever_is_asked_for(case: schemathesis.Case[Any]) -> None:
    case.call_and_validate()


@ordinary.parametrize()
@fuzzed
def test_whatever_is_asked_about_what_there_is(case: schemathesis.Case[Any]) -> None:
    ask_about_what_there_is(case)


@crowded.parametrize()
@fuzzed
def test_whatever_is_asked_where_no_more_requests_may_wait(case: schemathesis.Case[Any]) -> None:
    case.headers["If-None-Match"] = "*"
    ask_about_what_there_is(case)


@guarded.parametrize()
@fuzzed
def test_whatever_is_asked_by_somebody_unknown(case: schemathesis.Case[Any]) -> None:
    ask_about_what_there_is(case)


@guarded.parametrize()
@fuzzed
def test_whatever_is_asked_by_somebody_without_rights(case: schemathesis.Case[Any]) -> None:
    case.headers["Authorization"] = "Bearer known"
    ask_about_what_there_is(case)


@starting.parametrize()
@fuzzed
def test_whatever_is_asked_before_the_first_listing(case: schemathesis.Case[Any]) -> None:
    case.call_and_validate(excluded_checks=[schemathesis.checks.not_a_server_error])


def ask_about_what_there_is(case: schemathesis.Case[Any]) -> None:
    case.path_parameters.update({name: EXISTING[name] for name in case.path_parameters})
    # what was invalid about the path is gone; 503 is an answer here
    case.call_and_validate(excluded_checks=[negative_data_rejection, schemathesis.checks.not_a_server_error])


def test_every_refusal_is_told_in_the_same_shape() -> None:
    refusals = [
        (status, answer["content"]["application/json"]["schema"])
        for path in ordinary.raw_schema["paths"].values()
        for status, answer in path["get"]["responses"].items()
        if int(status) >= 400
    ]

    assert {status for status, _ in refusals} == {"401", "403", "404", "422", "503"}
    assert [schema for _, schema in refusals if schema != {"$ref": "#/components/schemas/Problem"}] == []
