"""Reads orders.created and reserves each order's goods in the inventory."""

import json
import logging
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from confluent_kafka import Message
from fastapi import FastAPI, HTTPException

from sidestream_sdk import SandboxConsumer, TenantContext

TOPIC = "orders.created"
INVENTORY_URL = os.environ["INVENTORY_URL"]

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
log = logging.getLogger("fulfilment")
log.setLevel(logging.INFO)
logging.getLogger("httpx").setLevel(logging.WARNING)

# With SIDESTREAM_MAPPING_URL and SIDESTREAM_CONSUMER set it takes only its own tenants' records; else it takes all.
CONSUMER = {
    "bootstrap.servers": os.environ["KAFKA_BOOTSTRAP"],
    "group.id": os.environ["KAFKA_GROUP_ID"],
    "client.id": "fulfilment",
    "auto.offset.reset": "earliest",
    "enable.auto.commit": False,
}


def this_hop() -> dict[str, str]:
    return {
        "service": "fulfilment",
        "version": os.environ.get("VERSION", "v1"),
        "pod": os.environ.get("HOSTNAME", ""),
    }


class Worker(threading.Thread):
    """Handles one record after the other; a record is committed once its goods are reserved."""

    def __init__(self) -> None:
        super().__init__(name="orders")
        self.stopping = threading.Event()

    def run(self) -> None:
        with SandboxConsumer(CONSUMER) as consumer, httpx.Client(timeout=10) as http:
            consumer.subscribe([TOPIC])
            while not self.stopping.is_set():
                record = consumer.poll(0.5)
                if record is None:
                    continue
                if record.error():
                    log.warning("Kafka: %s", record.error())
                    continue
                if self.handle(record, http):
                    consumer.commit(record)

    def handle(self, record: Message, http: httpx.Client) -> bool:
        """Try until it succeeds; False when the process stops before that. What nobody can handle is passed over."""
        try:
            order = json.loads(record.value() or b"")
            body = {"order": order["order"], "item": order["item"], "hops": [*order.get("hops", []), this_hop()]}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("record %s/%s@%s is no order: %r", TOPIC, record.partition(), record.offset(), error)
            return True
        headers = TenantContext.from_message(record).http_headers()
        while not self.stopping.is_set():
            try:
                response = http.post(f"{INVENTORY_URL}/reservations", json=body, headers=headers)
                if response.status_code == httpx.codes.UNPROCESSABLE_ENTITY:
                    log.warning("order %s is refused: %s", body["order"], response.text)
                    return True
                response.raise_for_status()
            except httpx.HTTPError as error:
                log.warning("order %s could not be reserved, will try again: %r", body["order"], error)
                self.stopping.wait(1)
            else:
                log.info("order %s is reserved", body["order"])
                return True
        return False


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.worker = worker = Worker()
    worker.start()
    yield
    worker.stopping.set()
    worker.join()


app = FastAPI(title="fulfilment", lifespan=lifespan)


@app.get("/healthz")
def healthy() -> dict[str, str]:
    if not app.state.worker.is_alive():
        raise HTTPException(503, "no record is handled any more")
    return {"status": "ok"}
