"""`GET /v1/tenants...`: for people, who serves a tenant."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Final

from fastapi import FastAPI, Header, Query
from fastapi.responses import Response

from sidestream.mapping import replies
from sidestream.mapping.answers import Problem, TenantAnswer, TenantsAnswer
from sidestream.mapping.gate import Gate
from sidestream.mapping.source import Source

DEFAULT_PAGE: Final = 500
LONGEST_PAGE: Final = 1000

_ALL: Final[replies.Documented] = {
    200: {"model": TenantsAnswer},
    **replies.INVALID,
    **replies.REFUSED,
    **replies.UNAVAILABLE,
}
_ONE: Final[replies.Documented] = {
    200: {"model": TenantAnswer},
    404: {"model": Problem, "description": "No Sandbox answers to this key."},
    **replies.INVALID,
    **replies.REFUSED,
    **replies.UNAVAILABLE,
}


def add_tenants(app: FastAPI, source: Source, gate: Gate) -> None:
    """Add the calls to the application."""

    @app.get("/v1/tenants", name="tenants", responses=_ALL, response_class=Response)
    async def tenants(
        after: str = "",
        limit: Annotated[int, Query(ge=1, le=LONGEST_PAGE)] = DEFAULT_PAGE,
        authorization: Annotated[str, Header()] = "",
    ) -> Response:
        """All tenants, a page at a time."""
        directory = source.directory
        if directory is None:
            return replies.not_ready("tenants", source.why_not_ready())
        await gate.admit_tenants(authorization)
        return replies.answer("tenants", directory.tenants(after=after, limit=limit))

    @app.get("/v1/tenants/{key}", name="tenant", responses=_ONE, response_class=Response)
    async def tenant(key: str, authorization: Annotated[str, Header()] = "") -> Response:
        """Which fork serves which workload for one tenant."""
        directory = source.directory
        if directory is None:
            return replies.not_ready("tenant", source.why_not_ready())
        await gate.admit_tenants(authorization)
        found = directory.tenant(key)
        if found is None:
            message = f"No Sandbox answers to routing key {key}: this tenant's requests and records are the baseline's."
            return replies.problem("tenant", HTTPStatus.NOT_FOUND, Problem(reason="UnknownTenant", message=message))
        return replies.answer("tenant", found)
