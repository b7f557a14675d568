"""Takes orders and announces each as a record of topic orders.created."""

import json
import os
import uuid

from confluent_kafka import KafkaException, Producer
from fastapi import FastAPI, HTTPException
from opentelemetry import propagate
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from pydantic import BaseModel

from sidestream_sdk import TenantContext

TOPIC = "orders.created"

producer = Producer(
    {
        "bootstrap.servers": os.environ["KAFKA_BOOTSTRAP"],
        "client.id": "orders",
        "enable.idempotence": True,
        "linger.ms": 0,
        "delivery.timeout.ms": 10_000,
    }
)


class Hop(BaseModel):
    service: str
    version: str
    pod: str = ""


class NewOrder(BaseModel):
    item: str
    quantity: int = 1
    hops: list[Hop] = []


class Trip(BaseModel):
    order: str
    hops: list[Hop]


def this_hop() -> Hop:
    return Hop(service="orders", version=os.environ.get("VERSION", "v1"), pod=os.environ.get("HOSTNAME", ""))


app = FastAPI(title="orders")
FastAPIInstrumentor.instrument_app(app, excluded_urls="healthz")


@app.post("/orders", status_code=201)
def create_order(new: NewOrder) -> Trip:
    trip = Trip(order=uuid.uuid4().hex, hops=[*new.hops, this_hop()])
    announce(trip, new)
    return trip


@app.get("/healthz")
def healthy() -> dict[str, str]:
    return {"status": "ok"}


def announce(trip: Trip, new: NewOrder) -> None:
    value = json.dumps({**trip.model_dump(), "item": new.item, "quantity": new.quantity})
    failures: list[object] = []
    try:
        producer.produce(
            TOPIC,
            key=trip.order,
            value=value,
            headers=record_headers(),
            on_delivery=lambda error, _: failures.append(error) if error else None,
        )
        undelivered = producer.flush(10)
    except (BufferError, KafkaException) as error:
        raise HTTPException(503, f"the order could not be announced: {error}") from error
    if failures or undelivered:
        raise HTTPException(503, f"the order could not be announced: {failures or 'Kafka does not answer'}")


def record_headers() -> list[tuple[str, str | bytes | None]]:
    """The current request's trace and baggage, for the record's consumers."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return [*TenantContext.from_headers(carrier).kafka_headers(carrier.items())]
