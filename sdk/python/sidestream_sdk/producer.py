"""`SandboxProducer`: `confluent_kafka.Producer` whose records carry the tenant that they are produced for.

Records that say themselves whose they are go out as they were given, as does everything outside of a tenant's context.
"""

from __future__ import annotations

from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from sidestream_sdk.baggage import BAGGAGE, HeaderRules, HeaderValue, has_member, with_member
from sidestream_sdk.context import TenantContext

_HEADERS_AT: Final = 7
"""Where `produce` takes the headers, when all is given by position."""

_OF_BATCH: Final = ("topic", "messages", "partition", "callback", "on_delivery")


class SandboxProducer(Producer):
    """Drop-in for `confluent_kafka.Producer`; adds the tenant of `TenantContext.current()` to records without one."""

    def produce(self, *args: Any, **keywords: Any) -> None:
        """As the base class's."""
        context = TenantContext.current()
        if len(args) > _HEADERS_AT:
            args = (*args[:_HEADERS_AT], with_tenant(args[_HEADERS_AT], context), *args[_HEADERS_AT + 1 :])
        elif context.tenant is not None:
            keywords["headers"] = with_tenant(keywords.get("headers"), context)
        super().produce(*args, **keywords)

    def produce_batch(self, *args: Any, **keywords: Any) -> int:
        """As the base class's; for a tenant one by one, because a batch cannot carry headers."""
        given = {**dict(zip(_OF_BATCH, args, strict=False)), **keywords}
        if TenantContext.current().tenant is None or not _can_be_split(given, len(args) + len(keywords)):
            return super().produce_batch(*args, **keywords)
        messages = given.pop("messages")
        return sum(self._produce_one(message, given) for message in messages)

    def _produce_one(self, message: dict[str, Any], given: dict[str, Any]) -> bool:
        """Whether it was queued; why not is in the message then, as in a batch."""
        own: dict[str, Any] = {
            name: message[name] for name in ("value", "key", "partition", "callback") if name in message
        }
        try:
            self.produce(**(given | own))
        except KafkaException as error:
            message["_error"] = error.args[0]
        except BufferError as error:
            message["_error"] = KafkaError(KafkaError._QUEUE_FULL, str(error))  # noqa: SLF001 - it is named so
        else:
            return True
        return False


def with_tenant(headers: Any, context: TenantContext) -> Any:
    """The headers of a record that is produced in this context; new ones where anything is added.

    What the base class would not take is left to it to refuse.
    """
    if context.tenant is None:
        return headers
    pairs = _pairs_of(headers)
    if pairs is None or _names_a_tenant(pairs, context.rules):
        return headers
    ours = context.http_headers()
    if any(name == BAGGAGE for name, _ in pairs):
        ours.pop(BAGGAGE, None)
        if context.rules.mode != "exact":
            pairs = _with_member_in_first(pairs, with_member("", context.rules.baggage_keys, context.tenant))
    added = [*pairs, *((name, value.encode()) for name, value in ours.items())]
    return dict(added) if isinstance(headers, dict) else added


def _pairs_of(headers: Any) -> list[tuple[str, HeaderValue]] | None:
    """The headers as pairs; None where they are none."""
    pairs: list[tuple[str, HeaderValue]]
    match headers:
        case None:
            pairs = []
        case dict():
            pairs = list(headers.items())
        case list() if all(isinstance(item, tuple) and len(item) == len(("name", "value")) for item in headers):
            pairs = headers
        case _:
            return None
    return pairs if all(isinstance(value, str | bytes | None) for _, value in pairs) else None


def _names_a_tenant(pairs: list[tuple[str, HeaderValue]], rules: HeaderRules) -> bool:
    """Whether the record says whose it is, be it nobody's (an empty value)."""
    return any(
        (name == rules.name and rules.mode != "baggage")
        or (name == BAGGAGE and rules.mode != "exact" and has_member(value, rules.baggage_keys))
        for name, value in pairs
    )


def _with_member_in_first(pairs: list[tuple[str, HeaderValue]], member: str) -> list[tuple[str, HeaderValue]]:
    """The pairs with a member more in front of the first `baggage` header, the rest of which stays as it is."""
    at = next(number for number, (name, _) in enumerate(pairs) if name == BAGGAGE)
    value = pairs[at][1]
    rest = value.encode() if isinstance(value, str) else value
    joined = member.encode() + b"," + rest if rest else member.encode()
    return [*pairs[:at], (BAGGAGE, joined), *pairs[at + 1 :]]


def _can_be_split(given: dict[str, Any], arguments: int) -> bool:
    """Whether a batch was called for in a way that the base class takes; what it refuses is left to it."""
    messages = given.get("messages")
    return (
        {"topic", "messages"} <= set(given) <= set(_OF_BATCH)
        and len(given) == arguments
        and isinstance(messages, list)
        and all(map(_is_good, messages))
    )


def _is_good(message: Any) -> bool:
    return (
        isinstance(message, dict)
        and "timestamp" not in message
        and all(isinstance(message.get(name), str | bytes | None) for name in ("value", "key"))
    )
