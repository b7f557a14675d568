"""What each of Kafka's error codes means for us: try again, wait for the group, or tell the user.

The client library calls none of the administrative errors retriable, so the table is ours. It goes by the names of the
codes; those that begin with an underscore are the client library's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sidestream.api.conditions import Reason
from sidestream.errors import GroupBusyError, KafkaError, KafkaUnavailableError, SidestreamError


class Cause(StrEnum):
    """Why no broker answers, as far as the client library noticed; from the most to the least telling."""

    AUTHENTICATION = "Authentication"
    TLS = "Tls"
    RESOLVE = "Resolve"
    CONNECT = "Connect"
    UNKNOWN = "Unknown"


@dataclass(frozen=True)
class Failure:
    """A failed call as the worker process reports it; `text` is the library's sentence, for logs only."""

    name: str
    text: str = ""
    cause: Cause = Cause.UNKNOWN

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Failure:
        """Parse what the worker sent."""
        return cls(name=str(raw["name"]), text=str(raw.get("text", "")), cause=Cause(raw.get("cause", Cause.UNKNOWN)))

    def to_json(self) -> dict[str, Any]:
        """The failure as it goes through the pipe."""
        return {"name": self.name, "text": self.text, "cause": str(self.cause)}


@dataclass(frozen=True)
class Endpoint:
    """A KafkaCluster as messages name it."""

    name: str
    bootstrap: str


@dataclass(frozen=True)
class Deed:
    """What was tried: `doing` completes "refuses to ...", `operation` is the right that it takes on all it is about."""

    doing: str
    operation: str
    group: str = ""
    topics: tuple[str, ...] = ()

    def needs(self, code: str) -> str:
        """The ACL whose absence this code tells of."""
        match code:
            case "GROUP_AUTHORIZATION_FAILED":
                return f"{self.operation} on group {self.group}"
            case "TOPIC_AUTHORIZATION_FAILED":
                return f"{self.operation} on {topics_text(self.topics)}"
            case _:
                return f"{self.operation} on the cluster"


OFFSET_MISSING: Final = "OFFSET_MISSING"
"""Our own code: the library returned an offset below zero without an error, which it does on a lost connection."""

NOT_KEPT: Final = "NOT_KEPT"
"""Our own code: offsets that were committed read back differently."""

OVERTAKEN: Final = "OVERTAKEN"
"""Our own code: the group has committed since we looked, so what was decided from that look must not be committed."""

_NO_ANSWER: Final = frozenset(
    {
        "_ALL_BROKERS_DOWN",
        "_RESOLVE",
        "_SSL",
        "_TIMED_OUT",
        "_TIMED_OUT_QUEUE",
        "_TRANSPORT",
    }
)

_NOT_NOW: Final = frozenset(
    {
        "_DESTROY",
        "_NOENT",
        "_PARTIAL",
        "_UNKNOWN_PARTITION",
        "_UNKNOWN_TOPIC",
        "_WAIT_CACHE",
        "_WAIT_COORD",
        "BROKER_NOT_AVAILABLE",
        "COORDINATOR_LOAD_IN_PROGRESS",
        "COORDINATOR_NOT_AVAILABLE",
        "FENCED_LEADER_EPOCH",
        "KAFKA_STORAGE_ERROR",
        "LEADER_NOT_AVAILABLE",
        "NETWORK_EXCEPTION",
        "NOT_CONTROLLER",
        "NOT_COORDINATOR",
        "NOT_LEADER_FOR_PARTITION",
        "OFFSET_NOT_AVAILABLE",
        "REBALANCE_IN_PROGRESS",
        "REPLICA_NOT_AVAILABLE",
        "REQUEST_TIMED_OUT",
        "THROTTLING_QUOTA_EXCEEDED",
        "UNKNOWN_LEADER_EPOCH",
        "UNKNOWN_TOPIC_ID",
        "UNKNOWN_TOPIC_OR_PART",
        "UNSTABLE_OFFSET_COMMIT",
        NOT_KEPT,
        OFFSET_MISSING,
    }
)

_BUSY: Final = {
    "NON_EMPTY_GROUP": "still has members",
    "UNKNOWN_MEMBER_ID": "still has members",
    OVERTAKEN: "has had members meanwhile: its offsets changed",
}

_BAD_CREDENTIALS: Final = frozenset(
    {
        "_AUTHENTICATION",
        "ILLEGAL_SASL_STATE",
        "SASL_AUTHENTICATION_FAILED",
        "UNSUPPORTED_SASL_MECHANISM",
    }
)

_FORBIDDEN: Final = frozenset(
    {
        "CLUSTER_AUTHORIZATION_FAILED",
        "GROUP_AUTHORIZATION_FAILED",
        "TOPIC_AUTHORIZATION_FAILED",
    }
)

_WHY: Final[dict[Cause, str]] = {
    Cause.AUTHENTICATION: "",
    Cause.TLS: ": the TLS handshake fails, see security.protocol and the ssl.* properties",
    Cause.RESOLVE: ": a host name cannot be resolved",
    Cause.CONNECT: ": no connection to any broker",
    Cause.UNKNOWN: "",
}


def translate(failure: Failure, endpoint: Endpoint, deed: Deed) -> SidestreamError:
    """The error to raise for a failure; its text is a sentence for users, the same from run to run."""
    name = failure.name
    cluster = f"KafkaCluster {endpoint.name}"
    no_answer = name in _NO_ANSWER
    if name in _BAD_CREDENTIALS or (no_answer and failure.cause is Cause.AUTHENTICATION):
        # a broker that refuses a password just hangs up: the library only knows that nobody answered in time
        text = f"{cluster} rejects the operator's credentials: check sasl.* in its properties and Secrets"
        return KafkaError(text, code="SASL_AUTHENTICATION_FAILED")
    if no_answer:
        return KafkaUnavailableError(f"{cluster} does not answer at {endpoint.bootstrap}{_WHY[failure.cause]}")
    if name in _NOT_NOW:
        return KafkaUnavailableError(f"{cluster} cannot {deed.doing} at the moment ({name})")
    if name in _BUSY:
        return GroupBusyError(f"Consumer group {deed.group} on {cluster} {_BUSY[name]}")
    return KafkaError(f"{cluster} refuses to {deed.doing}{_refusal(failure, deed)}", code=name)


def _refusal(failure: Failure, deed: Deed) -> str:
    name = failure.name
    if name in _FORBIDDEN:
        return f" ({name}): the operator's Kafka user needs {deed.needs(name)}"
    if name == "OFFSET_METADATA_TOO_LARGE":
        return f": the metadata beside an offset is too long for its brokers' offset.metadata.max.bytes ({name})"
    return f": {failure.text or name} ({name})"


def topics_text(names: Sequence[str]) -> str:
    """Topics as messages name them; without a name those of a group."""
    if not names:
        return "its topics"
    return f"topic {names[0]}" if len(names) == 1 else f"topics {', '.join(names)}"


def refused_config(text: str, endpoint: Endpoint) -> KafkaError:
    """The error for properties that the client library does not take; `text` is its own sentence, without secrets."""
    return KafkaError(f"KafkaCluster {endpoint.name} has bad properties: {text}", code="_INVALID_ARG")


def is_unanswered(failure: Failure) -> bool:
    """Whether no broker answered at all, so that other calls would wait in vain too."""
    return failure.name in _NO_ANSWER


def reason_of(error: KafkaError) -> Reason:
    """The condition reason for a refusal."""
    if error.code in _FORBIDDEN | _BAD_CREDENTIALS:
        return Reason.UNAUTHORIZED
    if error.code == "INVALID_GROUP_ID":
        return Reason.GROUP_NAME_INVALID
    if error.code == "TOPIC_EXCEPTION":
        return Reason.TOPIC_NOT_FOUND
    return Reason.CLUSTER_INVALID


def cause_of(errors: list[tuple[str, str]]) -> Cause:
    """The most telling cause among the connection errors (name, text) that the client library reported."""
    found = {_cause(name, text) for name, text in errors}
    return next((cause for cause in Cause if cause in found), Cause.UNKNOWN)


def _cause(name: str, text: str) -> Cause:
    match name:
        case "_AUTHENTICATION":
            return Cause.AUTHENTICATION
        case "_SSL":
            return Cause.TLS
        case "_TRANSPORT" if "SSL" in text:
            # a broker without TLS just hangs up on the handshake
            return Cause.TLS
        case "_RESOLVE":
            return Cause.RESOLVE
        case "_TRANSPORT":
            return Cause.CONNECT
        case _:
            return Cause.UNKNOWN
