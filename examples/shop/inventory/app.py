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
    asked_by: list[Hop] = []
    """Who asked for it: more than one when the order was handled more than once."""


def this_hop() -> Hop:
    return Hop(service="inventory", version=os.environ.get("VERSION", "v1"), pod=os.environ.get("HOSTNAME", ""))


app = FastAPI(title="inventory")
reservations: OrderedDict[str, Reservation] = OrderedDict()
lock = Lock()


@app.post("/reservations", status_code=201)
def reserve(new: NewReservation) -> Reservation:
    """Reserving an order again changes nothing but who asked for it."""
    with lock:
        known = reservations.get(new.order)
        if known is not None:
            known.asked_by += new.hops[-1:]
            return known
        made = Reservation(order=new.order, item=new.item, hops=[*new.hops, this_hop()], asked_by=new.hops[-1:])
        reservations[new.order] = made
        if len(reservations) > REMEMBERED:
            reservations.popitem(last=False)
        return made


@app.get("/reservations")
def show_all(prefix: str = "") -> list[Reservation]:
    """All that are remembered, or those of orders whose name begins so."""
    with lock:
        return [item for name, item in reservations.items() if name.startswith(prefix)]


@app.get("/reservations/{order}")
def show(order: str) -> Reservation:
    found = reservations.get(order)
    if found is None:
        raise HTTPException(404, f"nothing is reserved for order {order}")
    return found


@app.get("/healthz")
def healthy() -> dict[str, str]:
    return {"status": "ok"}
