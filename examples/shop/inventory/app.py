"""Keeps the goods of orders reserved, in memory."""

import os
from collections import OrderedDict
from threading import Lock

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

REMEMBERED = 10_000


class Hop(BaseModel):
    service: str
    version: str
    pod: str = ""


class NewReservation(BaseModel):
    order: str
    item: str
    hops: list[Hop] = []


class Reservation(NewReservation):
    times: int = 1


def this_hop() -> Hop:
    return Hop(service="inventory", version=os.environ.get("VERSION", "v1"), pod=os.environ.get("HOSTNAME", ""))


app = FastAPI(title="inventory")
reservations: OrderedDict[str, Reservation] = OrderedDict()
lock = Lock()


@app.post("/reservations", status_code=201)
def reserve(new: NewReservation) -> Reservation:
    """Reserving an order again changes nothing but the count of its times."""
    with lock:
        known = reservations.get(new.order)
        if known is not None:
            known.times += 1
            return known
        made = Reservation(order=new.order, item=new.item, hops=[*new.hops, this_hop()])
        reservations[new.order] = made
        if len(reservations) > REMEMBERED:
            reservations.popitem(last=False)
        return made


@app.get("/reservations/{order}")
def show(order: str) -> Reservation:
    found = reservations.get(order)
    if found is None:
        raise HTTPException(404, f"nothing is reserved for order {order}")
    return found


@app.get("/healthz")
def healthy() -> dict[str, str]:
    return {"status": "ok"}
