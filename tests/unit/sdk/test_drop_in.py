"""The same calls on `confluent_kafka.Consumer` and on SandboxConsumer show the application the same.

Each scenario is run on a plain consumer first, then without a mapping service and with one that lists a fork whose
tenant has no record in the topic; likewise with AsyncSandboxConsumer, whose methods are waited for. What it returns is
all that an application can see.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import cast

import pytest
from confluent_kafka import Consumer, TopicPartition

from fakes.blocking import Blocking, running_loop
from fakes.brokers import Broker
from fakes.consuming import DEADLINE, number_of, poll_until, read_numbers
from fakes.mapping_server import MappingServer, change_json, mapping_json
from fakes.stage import OWN_COMMITS, RECORDS, Make, Stage, outcome
from sidestream_sdk import Identity, SandboxConsumer


def commits_by_itself(stage: Stage) -> object:
    consumer = stage.subscribed()
    numbers = read_numbers(consumer, RECORDS)
    poll_until(consumer, lambda: stage.committed() == RECORDS)
    return numbers


SELDOM = {"auto.commit.interval.ms": 600_000}


def commits_what_was_handed_out_when_it_closes(stage: Stage) -> object:
    consumer = stage.subscribed(SELDOM)
    numbers = read_numbers(consumer, 3)
    before = stage.committed()
    consumer.close()
    return numbers, before, stage.committed()


def commits_what_was_handed_out_when_partitions_go(stage: Stage) -> object:
    consumer = stage.subscribed(SELDOM)
    numbers = read_numbers(consumer, 4)
    consumer.unsubscribe()
    poll_until(consumer, lambda: stage.committed() == 4)
    return numbers


def commits_what_was_handed_out_when_they_are_given_back(stage: Stage) -> object:
    consumer = stage.assigned(SELDOM)
    numbers = read_numbers(consumer, 2)
    consumer.unassign()
    poll_until(consumer, lambda: stage.committed() == 2)
    return numbers


def commits_nothing_by_itself_twice_or_backwards(stage: Stage) -> object:
    consumer = stage.assigned(SELDOM)
    read_numbers(consumer, 4)
    consumer.commit(asynchronous=False)
    consumer.seek(stage.partition(1))
    read_numbers(consumer, 1)
    consumer.close()
    return stage.committed()


def commits_on_after_a_commit_of_less(stage: Stage) -> object:
    consumer = stage.assigned(SELDOM)
    read_numbers(consumer, 3)
    consumer.commit(offsets=[stage.partition(1)], asynchronous=False)
    consumer.close()
    return stage.committed()


def commits_where_it_was_before_it_sought(stage: Stage) -> object:
    consumer = stage.assigned(OWN_COMMITS)
    read_numbers(consumer, 3)
    consumer.seek(stage.partition(1))
    seen = [repr(consumer.commit(asynchronous=False)), read_numbers(consumer, 1)]
    return [*seen, outcome(lambda: consumer.commit(asynchronous=False)), stage.committed()]


def commits_what_is_stored_when_it_closes(stage: Stage) -> object:
    consumer = stage.subscribed({**SELDOM, "enable.auto.offset.store": False})
    read_numbers(consumer, 3)
    consumer.store_offsets(offsets=[stage.partition(2)])
    consumer.close()
    return stage.committed()


def tells_of_its_commits(stage: Stage) -> object:
    told: list[tuple[object, set[int]]] = []

    def note(error: object, partitions: list[TopicPartition]) -> None:
        told.append((error, {item.offset for item in partitions if item.offset >= 0}))

    consumer = stage.subscribed({**SELDOM, "on_commit": note})
    read_numbers(consumer, 3)
    consumer.unsubscribe()
    poll_until(consumer, lambda: bool(told))
    return told


def metadata_of_the_application(stage: Stage) -> object:
    consumer = stage.subscribed({**OWN_COMMITS, "enable.auto.offset.store": False})
    read_numbers(consumer, 3)
    seen = []
    for offset in (1, 2):
        place = TopicPartition(stage.topic, 0, offset, f"mine {offset}")
        if offset == 1:
            seen += consumer.commit(offsets=[place], asynchronous=False)
        else:
            consumer.store_offsets(offsets=[place])
            seen += [item for item in consumer.commit(asynchronous=False) if item.offset >= 0]
        seen += consumer.committed([place], 10)
    return [(item.offset, item.metadata, item.error) for item in seen]


def a_commit_before_partitions_go(stage: Stage) -> object:
    seen: list[object] = []

    def give_back(consumer: Consumer, partitions: list[TopicPartition]) -> None:
        seen.append(repr(consumer.commit(asynchronous=False)))
        consumer.unassign()
        seen.append(len(partitions))

    consumer = stage.consumer(OWN_COMMITS)
    consumer.subscribe([stage.topic], on_revoke=give_back)
    read_numbers(consumer, 3)
    consumer.close()
    return seen, stage.committed()


def fields_of_a_message(stage: Stage) -> object:
    message = stage.assigned().poll(DEADLINE)
    assert message is not None
    content = (message.key(), message.value(), message.headers())
    return type(message).__name__, content, message.partition(), message.offset(), message.error()


def consume_in_batches(stage: Stage) -> object:
    consumer = stage.assigned()
    numbers: list[int] = []
    while len(numbers) < RECORDS:
        batch = consumer.consume(num_messages=4, timeout=0.5)
        assert len(batch) <= 4
        numbers += map(number_of, batch)
    return numbers, stage.position(consumer), consumer.consume(4, 0.1), consumer.consume(0, 0.1)


def commit_of_everything(stage: Stage) -> object:
    consumer = stage.subscribed(OWN_COMMITS)
    seen = [read_numbers(consumer, 2), repr(consumer.commit(asynchronous=False)), stage.committed()]
    consumer.close()
    again = stage.consumer(OWN_COMMITS)
    again.assign([stage.partition()])
    return [*seen, read_numbers(again, RECORDS - 2)]


def commit_without_waiting(stage: Stage) -> object:
    told: list[tuple[object, str]] = []
    consumer = stage.subscribed(
        {**OWN_COMMITS, "on_commit": lambda error, partitions: told.append((error, repr(partitions)))}
    )
    numbers = read_numbers(consumer, 3)
    # What is committed is where the consumer stands when the request goes out.
    consumer.pause(consumer.assignment())
    returned = consumer.commit()
    poll_until(consumer, lambda: bool(told))
    return numbers, returned, told, stage.committed()


def commit_of_one_message(stage: Stage) -> object:
    consumer = stage.subscribed(OWN_COMMITS)
    committed = []
    for _ in range(2):
        message = consumer.poll(DEADLINE)
        assert message is not None
        committed.append((repr(consumer.commit(message=message, asynchronous=False)), stage.committed()))
    return committed


def commit_of_offsets(stage: Stage) -> object:
    consumer = stage.subscribed(OWN_COMMITS)
    read_numbers(consumer, 4)
    return repr(consumer.commit(offsets=[stage.partition(3)], asynchronous=False)), stage.committed()


def commit_of_nothing(stage: Stage) -> object:
    return outcome(lambda: stage.assigned(OWN_COMMITS).commit(asynchronous=False))


def offsets_that_the_application_stores(stage: Stage) -> object:
    consumer = stage.subscribed({"enable.auto.offset.store": False})
    messages = [consumer.poll(DEADLINE) for _ in range(3)]
    assert messages[1] is not None
    consumer.store_offsets(messages[1])
    consumer.close()
    return stage.committed()


def storing_where_it_is_automatic(stage: Stage) -> object:
    consumer = stage.subscribed()
    message = consumer.poll(DEADLINE)
    return outcome(lambda: consumer.store_offsets(message))


def seek_back_and_forth(stage: Stage) -> object:
    consumer = stage.assigned(OWN_COMMITS)
    seen = [read_numbers(consumer, 3), stage.position(consumer)]
    consumer.seek(stage.partition(1))
    seen += [read_numbers(consumer, 2), stage.position(consumer)]
    consumer.seek(stage.partition(5))
    return [*seen, read_numbers(consumer, 1), outcome(lambda: consumer.seek(TopicPartition("unknown", 0, 1)))]


def pause_and_resume(stage: Stage) -> object:
    consumer = stage.assigned(OWN_COMMITS)
    seen: list[object] = [read_numbers(consumer, 2)]
    consumer.pause([stage.partition()])
    seen += [consumer.poll(0.3), stage.position(consumer)]
    consumer.resume([stage.partition()])
    return [*seen, read_numbers(consumer, RECORDS - 2)]


def assignments(stage: Stage) -> object:
    consumer = stage.consumer()
    seen = [repr(consumer.assignment()), stage.position(consumer)]
    consumer.assign([stage.partition(2)])
    seen += [repr(consumer.assignment()), repr(read_numbers(consumer, 2)), stage.position(consumer)]
    consumer.unassign()
    seen += [repr(consumer.assignment()), repr(consumer.poll(0.2))]
    consumer.incremental_assign([stage.partition(5)])
    seen += [repr(read_numbers(consumer, 1))]
    consumer.incremental_unassign([stage.partition()])
    return [*seen, repr(consumer.assignment()), consumer.get_watermark_offsets(stage.partition(), timeout=10)]


def rebalance_callbacks(stage: Stage) -> object:
    seen: list[object] = []
    consumer = stage.consumer(OWN_COMMITS)

    def note(what: str) -> Callable[[Consumer, list[TopicPartition]], None]:
        return lambda who, partitions: seen.append((what, who is consumer, len(partitions), stage.position(who)))

    consumer.subscribe([stage.topic], on_assign=note("assign"), on_revoke=note("revoke"), on_lost=note("lost"))
    seen.append(read_numbers(consumer, RECORDS))
    consumer.unsubscribe()
    poll_until(consumer, lambda: len(seen) == 3)
    return seen


def a_start_that_on_assign_chooses(stage: Stage) -> object:
    consumer = stage.consumer(OWN_COMMITS)
    consumer.subscribe([stage.topic], on_assign=lambda who, _: who.assign([stage.partition(4)]))
    return read_numbers(consumer, 2), repr(consumer.assignment())


def an_error_in_a_callback(stage: Stage) -> object:
    def fail(*_: object) -> None:
        raise ValueError("the application's own")

    consumer = stage.consumer()
    consumer.subscribe([stage.topic], on_assign=fail)

    def poll_until_it_fails() -> None:
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            consumer.poll(0.2)

    return outcome(poll_until_it_fails)


def the_end_of_a_partition(stage: Stage) -> object:
    consumer = stage.assigned({"enable.partition.eof": True})
    numbers = read_numbers(consumer, RECORDS)
    event = consumer.poll(DEADLINE)
    assert event is not None
    error = event.error()
    assert error is not None
    return numbers, error.code(), event.topic(), event.partition(), event.offset()


def a_context(stage: Stage) -> object:
    with stage.subscribed() as consumer:
        numbers = read_numbers(consumer, RECORDS)
    return numbers, stage.committed(), outcome(lambda: consumer.poll(0))


def timeouts(stage: Stage) -> object:
    consumer = stage.consumer()
    begin = time.monotonic()
    seen = [consumer.poll(0), consumer.poll(timeout=0.2), consumer.consume(5, 0), consumer.consume(timeout=0.2)]
    return seen, 0.3 < time.monotonic() - begin < DEADLINE


def wrong_arguments(stage: Stage) -> object:
    consumer = stage.assigned()
    read_numbers(consumer, 1)
    return [
        outcome(lambda: consumer.poll("soon")),  # type: ignore[arg-type]  # that is the point
        outcome(lambda: consumer.consume(1_000_001, 0)),
        outcome(lambda: consumer.consume(-1, 0)),
        outcome(lambda: consumer.commit(offsets=[], message=consumer.poll(DEADLINE))),  # type: ignore[call-overload]
        outcome(lambda: consumer.seek(TopicPartition(stage.topic, 99, 0))),
    ]


def wrong_subscriptions(stage: Stage) -> object:
    subscribe: Callable[..., None] = stage.consumer().subscribe
    return [
        outcome(call)
        for call in (
            subscribe,
            lambda: subscribe(stage.topic),
            lambda: subscribe([stage.topic], "no function"),
            lambda: subscribe([stage.topic], on_revoke=None),
            lambda: subscribe([stage.topic], on_elsewhere=print),
            lambda: subscribe([stage.topic], print, print, print, print),
            lambda: subscribe([stage.topic], print, print, print),
        )
    ]


def after_close(stage: Stage) -> object:
    consumer = stage.subscribed()
    consumer.close()
    return [
        outcome(call)
        for call in (
            lambda: consumer.poll(0),
            lambda: consumer.consume(1, 0),
            lambda: consumer.subscribe([stage.topic]),
            consumer.unsubscribe,
            lambda: consumer.assign([stage.partition()]),
            consumer.assignment,
            lambda: consumer.commit(asynchronous=False),
            lambda: consumer.position([stage.partition()]),
            lambda: consumer.seek(stage.partition(0)),
            lambda: consumer.store_offsets(offsets=[stage.partition(0)]),
            lambda: consumer.pause([stage.partition()]),
            consumer.memberid,
            consumer.close,
        )
    ]


SCENARIOS = [
    commits_by_itself,
    commits_what_was_handed_out_when_it_closes,
    commits_what_was_handed_out_when_partitions_go,
    commits_what_was_handed_out_when_they_are_given_back,
    commits_nothing_by_itself_twice_or_backwards,
    commits_on_after_a_commit_of_less,
    commits_where_it_was_before_it_sought,
    commits_what_is_stored_when_it_closes,
    tells_of_its_commits,
    metadata_of_the_application,
    a_commit_before_partitions_go,
    fields_of_a_message,
    consume_in_batches,
    commit_of_everything,
    commit_without_waiting,
    commit_of_one_message,
    commit_of_offsets,
    commit_of_nothing,
    offsets_that_the_application_stores,
    storing_where_it_is_automatic,
    seek_back_and_forth,
    pause_and_resume,
    assignments,
    rebalance_callbacks,
    a_start_that_on_assign_chooses,
    an_error_in_a_callback,
    the_end_of_a_partition,
    a_context,
    timeouts,
    wrong_arguments,
    wrong_subscriptions,
    after_close,
]


@pytest.fixture
def stages(broker: Broker, topic: str) -> Iterator[Callable[[str, Make], Stage]]:
    broker.produce(topic, ["bob", None] * (RECORDS // 2))
    made: list[Stage] = []

    def stage(group: str, make: Make) -> Stage:
        made.append(Stage(broker, topic, f"{topic}-{group}", make))
        return made[-1]

    yield stage
    for used in made:
        for consumer in used.consumers:
            consumer.close()


@pytest.fixture
def identity(server: MappingServer, topic: str, monkeypatch: pytest.MonkeyPatch) -> Identity:
    monkeypatch.delenv("SIDESTREAM_MAPPING_URL", raising=False)
    server.publish(mapping_json(change_json("alice"), topic=topic))
    return Identity(server.url, "shop/fulfilment")


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with running_loop() as loop:
        yield loop


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__.replace("_", " "))
def test_the_application_sees_what_a_plain_consumer_shows(
    scenario: Callable[[Stage], object], stages: Callable[[str, Make], Stage], identity: Identity
) -> None:
    plain = scenario(stages("plain", Consumer))

    assert scenario(stages("alone", SandboxConsumer)) == plain, "without a mapping service"
    mapped = scenario(stages("mapped", lambda config: SandboxConsumer(config, identity=identity)))
    assert mapped == plain, "with a mapping"


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__.replace("_", " "))
def test_the_asynchronous_consumer_shows_it_the_same(
    scenario: Callable[[Stage], object],
    loop: asyncio.AbstractEventLoop,
    stages: Callable[[str, Make], Stage],
    identity: Identity,
) -> None:
    def blocking(who: Identity | None) -> Make:
        return lambda config: cast("Consumer", Blocking(loop, config, who))

    plain = scenario(stages("plain", Consumer))

    assert scenario(stages("alone", blocking(None))) == plain, "without a mapping service"
    assert scenario(stages("mapped", blocking(identity))) == plain, "with a mapping"
