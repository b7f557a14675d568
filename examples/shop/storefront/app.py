"""The shop's face: takes orders, and tells which services, in which version, an order went through."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI, HTTPException
from httpx import codes
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from pydantic import BaseModel

ORDERS_URL = os.environ["ORDERS_URL"]
INVENTORY_URL = os.environ["INVENTORY_URL"]


class Hop(BaseModel):
    service: str
    version: str
    pod: str = ""


class NewOrder(BaseModel):
    item: str
    quantity: int = 1


class Trip(BaseModel):
    order: str
    hops: list[Hop]


def this_hop() -> Hop:
    return Hop(service="storefront", version=os.environ.get("VERSION", "v1"), pod=os.environ.get("HOSTNAME", ""))


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with httpx.AsyncClient(timeout=10) as client:
        app.state.http = client
        yield


app = FastAPI(title="storefront", lifespan=lifespan)

# The baggage of a request, and with it the tenant, goes along with the requests made for it.
HTTPXClientInstrumentor().instrument()
FastAPIInstrumentor.instrument_app(app, excluded_urls="healthz")


@app.post("/orders", status_code=201)
async def place_order(order: NewOrder) -> Trip:
    body = {**order.model_dump(), "hops": [this_hop().model_dump()]}
    return Trip.model_validate(await call("POST", f"{ORDERS_URL}/orders", json=body))


@app.get("/orders/{order}")
async def show_order(order: str) -> Trip:
    return Trip.model_validate(await call("GET", f"{INVENTORY_URL}/reservations/{order}"))


@app.get("/healthz")
async def healthy() -> dict[str, str]:
    return {"status": "ok"}


async def call(method: str, url: str, **options: object) -> object:
    try:
        response = await app.state.http.request(method, url, **options)
    except httpx.TransportError as error:
        raise HTTPException(502, f"{url} does not answer: {type(error).__name__}") from error
    if response.is_error:
        known = response.status_code == codes.NOT_FOUND
        raise HTTPException(404 if known else 502, f"{url} answers {response.status_code}")
    answer: object = response.json()
    return answer
