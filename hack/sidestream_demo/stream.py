"""A stream of orders, written straight into the shop's topic by several tenants in turn while something goes on."""

import secrets
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol, Self

from sidestream_demo.errors import DemoError
from sidestream_demo.traffic import headers_of


class OrderWriter(Protocol):
    """What a stream needs of Kafka."""

    def write(self, value: dict[str, str | int], headers: dict[str, str] | None = None) -> None:
        """Hand one record over."""
        ...

    def finish(self) -> None:
        """Wait until all of them are stored."""
        ...


class Stream(AbstractContextManager["Stream"]):
    """Writes `per_second` orders in each second from entering it until it is left or stopped."""

    def __init__(self, writer: OrderWriter, tenants: Sequence[str], per_second: float) -> None:
        self.prefix = f"stream-{secrets.token_hex(4)}-"
        """What the names of its orders begin with."""
        self.produced: dict[str, str] = {}
        """The tenant of each order."""
        self._writer = writer
        self._tenants = tenants
        self._pause = 1.0 / per_second
        self._failure: Exception | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stream", daemon=True)

    def __enter__(self) -> Self:
        """Start it."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Write no more."""
        self._stopping.set()
        self._thread.join()

    def stop(self) -> dict[str, str]:
        """Write no more, wait until everything is stored, and return the tenant of each order.

        Raises:
            DemoError: an order was not written.
        """
        self._stopping.set()
        self._thread.join()
        if self._failure is not None:
            raise DemoError(f"The stream of orders broke off: {self._failure}") from self._failure
        self._writer.finish()
        return self.produced

    def _run(self) -> None:
        try:
            while not self._stopping.wait(self._pause):
                number = len(self.produced)
                order, tenant = f"{self.prefix}{number}", self._tenants[number % len(self._tenants)]
                self._writer.write({"order": order, "item": "pen", "quantity": 1}, headers_of(tenant))
                self.produced[order] = tenant
        except Exception as failure:  # noqa: BLE001 - told by `stop`, in the thread that waits for it
            self._failure = failure
