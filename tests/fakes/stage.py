"""What a scenario acts on that is to show the same with a plain consumer and with SandboxConsumer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from fakes.brokers import Broker

RECORDS = 6
OWN_COMMITS = {"enable.auto.commit": False}

Make = Callable[[dict[str, Any]], Consumer]


@dataclass
class Stage:
    """A filled topic, and consumers of one kind to act on it; every scenario has groups of its own."""

    broker: Broker
    topic: str
    group: str
    make: Make
    consumers: list[Consumer] = field(default_factory=list)

    def consumer(self, config: dict[str, Any] | None = None) -> Consumer:
        base = {
            "bootstrap.servers": self.broker.bootstrap,
            "group.id": self.group,
            "auto.offset.reset": "earliest",
            "auto.commit.interval.ms": 100,
        }
        self.consumers.append(self.make({**base, **(config or {})}))
        return self.consumers[-1]

    def subscribed(self, config: dict[str, Any] | None = None) -> Consumer:
        consumer = self.consumer(config)
        consumer.subscribe([self.topic])
        return consumer

    def assigned(self, config: dict[str, Any] | None = None) -> Consumer:
        consumer = self.consumer(config)
        consumer.assign([self.partition(OFFSET_BEGINNING)])
        return consumer

    def partition(self, offset: int = -1001) -> TopicPartition:
        return TopicPartition(self.topic, 0, offset)

    def committed(self) -> int:
        return self.broker.committed(self.group, self.topic)

    def position(self, consumer: Consumer) -> int:
        return int(consumer.position([self.partition()])[0].offset)


def outcome(call: Callable[[], object]) -> str:
    """What a call returns, or the kind of what it raises; the text where it is the client's and not the language's."""
    try:
        return repr(call())
    except KafkaException as error:
        return f"KafkaException {error.args[0].code()}"
    except RuntimeError as error:
        return f"RuntimeError {error}"
    except (TypeError, ValueError) as error:
        return type(error).__name__
