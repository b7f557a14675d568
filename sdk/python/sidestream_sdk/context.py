"""Carry the tenant along where no instrumentation does: records, requests, database rows, batch jobs.

    with TenantContext.from_message(message).use():
        httpx.post(url, headers=TenantContext.current().http_headers())

No Python instrumentation for Kafka shows a record's baggage to the code that handles it, so read it here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, Self

from sidestream_sdk.baggage import (
    BAGGAGE,
    HeaderRules,
    Headers,
    joined_baggage,
    tenant_reader,
    with_member,
    without_others,
)

ROW_COLUMN: Final = "baggage"

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]


class HasHeaders(Protocol):
    """A Kafka message, as far as it matters here."""

    def headers(self) -> Headers | None:
        """The record's headers."""
        ...


@dataclass(frozen=True)
class TenantContext:
    """Whose work this is: the routing key (None: nobody's, the baseline's) and the whole `baggage` it came with."""

    tenant: str | None = None
    baggage: str = ""
    rules: HeaderRules = field(default_factory=HeaderRules)

    @classmethod
    def current(cls) -> TenantContext:
        """The context that `use` or `TenantMiddleware` set, or an empty one."""
        return _current.get() or TenantContext()

    @classmethod
    def from_headers(cls, headers: Headers, rules: HeaderRules | None = None) -> Self:
        """Read it from header names and values of any protocol; names must be in lower case."""
        pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
        rules = rules or HeaderRules()
        return cls(tenant_reader(rules)(pairs).key, joined_baggage(pairs), rules)

    @classmethod
    def from_message(cls, message: HasHeaders, rules: HeaderRules | None = None) -> Self:
        """Read it from a Kafka record."""
        return cls.from_headers(message.headers() or (), rules)

    @classmethod
    def from_scope(cls, scope: Scope, rules: HeaderRules | None = None) -> Self:
        """Read it from an ASGI request."""
        return cls.from_headers([(name.decode("latin-1"), value) for name, value in scope.get("headers", ())], rules)

    @classmethod
    def from_row(cls, row: Mapping[str, Any], rules: HeaderRules | None = None) -> Self:
        """Read it from a row that was written with `to_row`."""
        rules = rules or HeaderRules()
        baggage = row.get(ROW_COLUMN) or ""
        in_baggage = HeaderRules(baggage_keys=rules.baggage_keys)
        return cls(tenant_reader(in_baggage)([(BAGGAGE, baggage)]).key, baggage, rules)

    def to_row(self) -> dict[str, str | None]:
        """Column and value to keep with a row that later leads to records or requests (an outbox, a job table).

        The value is a `baggage` header, so that Debezium's outbox router can place the column as that header.
        """
        return {ROW_COLUMN: self._named_in(self.baggage) or None}

    def http_headers(self) -> dict[str, str]:
        """Headers for an outgoing request."""
        return self._headers_over(self.baggage)

    def _headers_over(self, baggage: str) -> dict[str, str]:
        headers = {BAGGAGE: baggage if self.rules.mode == "exact" else self._named_in(baggage)}
        if self.rules.mode != "baggage" and self.tenant is not None:
            headers[self.rules.name] = self.tenant
        return {name: value for name, value in headers.items() if value}

    def kafka_headers(self, others: Iterable[tuple[str, str | bytes | None]] = ()) -> list[tuple[str, bytes | None]]:
        """Headers for an outgoing record: ours, and those of `others` that are not about the tenant.

        Where `others` have `baggage`, its members take the place of the context's.
        """
        pairs = [(name, value.encode() if isinstance(value, str) else value) for name, value in others]
        theirs = b",".join(value for name, value in pairs if name == BAGGAGE and value)
        # bytes that are no UTF-8 are wrong in baggage, but not ours to correct
        ours = self._headers_over(theirs.decode("utf-8", "surrogateescape") or self.baggage)
        kept = [pair for pair in pairs if pair[0] not in {BAGGAGE, self.rules.name}]
        return [*kept, *((name, value.encode("utf-8", "surrogateescape")) for name, value in ours.items())]

    @contextmanager
    def use(self) -> Iterator[Self]:
        """Make this the current context of the thread or task inside the `with`."""
        token = _current.set(self)
        try:
            yield self
        finally:
            _current.reset(token)

    def _named_in(self, baggage: str) -> str:
        keys = self.rules.baggage_keys
        return without_others(baggage, keys, "") if self.tenant is None else with_member(baggage, keys, self.tenant)


_current: Final[ContextVar[TenantContext | None]] = ContextVar("sidestream_tenant", default=None)


class TenantMiddleware:
    """ASGI middleware: `TenantContext.current()` is the request's own while it is handled."""

    def __init__(self, app: AsgiApp, rules: HeaderRules | None = None) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        with TenantContext.from_scope(scope, self._rules).use():
            await self._app(scope, receive, send)
