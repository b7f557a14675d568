"""Who may read what: a ServiceAccount the mappings of its own namespace, others what Kubernetes lets them read.

The API server says who a caller is and what it may do; both are remembered, so that a request of somebody known never
reaches it.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from http import HTTPStatus
from typing import Final, Protocol

from sidestream.errors import SidestreamError
from sidestream.kube.port import KAFKA_CONSUMERS, SANDBOXES
from sidestream.kube.reviews import Access, Caller
from sidestream.mapping.answers import Problem
from sidestream.mapping.directory import Workload
from sidestream.mapping.memory import Memory
from sidestream.runtime.clock import Clock

AUDIENCE: Final = "sidestream"
REMEMBER_SECONDS: Final = 60.0

_SCHEME: Final = "bearer "
_HOW: Final = (
    f"mount a projected ServiceAccount token with audience {AUDIENCE} and name its file in SIDESTREAM_TOKEN_FILE."
)


class Authority(Protocol):
    """Who knows callers and their rights; `kube.reviews.Reviews` is one."""

    async def caller_of(self, token: str) -> Caller | None:
        """Whose token it is, None for a token that does not count."""
        ...

    async def may(self, caller: Caller, access: Access) -> bool:
        """Whether the caller may do that."""
        ...


class RefusedError(SidestreamError):
    """The request is not answered; `status` and `problem` say why."""

    def __init__(self, status: HTTPStatus, problem: Problem) -> None:
        super().__init__(problem.message)
        self.status = status
        self.problem = problem


class Gate(Protocol):
    """Lets a request in or refuses it."""

    async def admit_consumer(self, authorization: str, workload: Workload, kafka_consumers: Iterable[str]) -> None:
        """May the sender of this Authorization header read the mapping that comes from these KafkaConsumers?

        Raises:
            RefusedError: no, or nobody can tell.
        """
        ...

    async def admit_tenants(self, authorization: str) -> None:
        """May it read about all tenants?

        Raises:
            RefusedError: no, or nobody can tell.
        """
        ...


class OpenGate:
    """Lets everybody in."""

    async def admit_consumer(self, authorization: str, workload: Workload, kafka_consumers: Iterable[str]) -> None:
        """See `Gate`."""

    async def admit_tenants(self, authorization: str) -> None:
        """See `Gate`."""


class TokenGate:
    """Asks an authority, and remembers what it said."""

    def __init__(self, authority: Authority, clock: Clock) -> None:
        self._authority = authority
        self._callers: Memory[bytes, Caller | None] = Memory(clock, seconds=REMEMBER_SECONDS)
        self._rights: Memory[tuple[Caller, Access], bool] = Memory(clock, seconds=REMEMBER_SECONDS)

    async def admit_consumer(self, authorization: str, workload: Workload, kafka_consumers: Iterable[str]) -> None:
        """See `Gate`."""
        caller = await self._caller(authorization)
        if caller.namespace == workload.namespace:
            return
        for name in sorted(kafka_consumers) or [""]:
            access = Access("get", KAFKA_CONSUMERS, workload.namespace, name)
            if not await self._may(caller, access):
                what = f"KafkaConsumer {name}" if name else "KafkaConsumers"
                raise _forbidden(
                    f"{caller.name} may not read the mapping of {workload}: use a ServiceAccount of namespace "
                    f"{workload.namespace}, or let a RoleBinding there give it `get` on {what}."
                )

    async def admit_tenants(self, authorization: str) -> None:
        """See `Gate`."""
        caller = await self._caller(authorization)
        if not await self._may(caller, Access("list", SANDBOXES)):
            raise _forbidden(
                f"{caller.name} may not read about tenants: let a ClusterRoleBinding give it `list` on Sandboxes."
            )

    async def _caller(self, authorization: str) -> Caller:
        if not authorization.lower().startswith(_SCHEME):
            raise _unauthorized(f"The request has no bearer token: {_HOW}")
        token = authorization[len(_SCHEME) :].strip()
        try:
            # the hash, so that no memory dump of this process gives tokens away
            caller = await self._callers.recall(
                sha256(token.encode()).digest(), lambda: self._authority.caller_of(token)
            )
        except SidestreamError as error:
            raise _nobody_can_tell(error) from error
        if caller is None:
            raise _unauthorized(f"The bearer token has expired, or is not for audience {AUDIENCE}: {_HOW}")
        return caller

    async def _may(self, caller: Caller, access: Access) -> bool:
        try:
            return await self._rights.recall((caller, access), lambda: self._authority.may(caller, access))
        except SidestreamError as error:
            raise _nobody_can_tell(error) from error


def _unauthorized(message: str) -> RefusedError:
    return RefusedError(HTTPStatus.UNAUTHORIZED, Problem(reason="Unauthorized", message=message))


def _forbidden(message: str) -> RefusedError:
    return RefusedError(HTTPStatus.FORBIDDEN, Problem(reason="Forbidden", message=message))


def _nobody_can_tell(error: SidestreamError) -> RefusedError:
    message = f"Whether you may read this cannot be told now: {error}. Ask again in a moment."
    return RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, Problem(reason="AuthorityAway", message=message))
