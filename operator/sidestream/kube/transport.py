"""HTTP to the API server: paths, credentials, timeouts, counting, errors; knows nothing of what is asked.

It never retries: the work queue does.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
from kubernetes.aio import client, config

from sidestream.errors import KubeError, TransientError
from sidestream.kube.errors import error_of_answer, error_of_failure
from sidestream.kube.port import Object, Resource
from sidestream.runtime import metrics

_CONNECT_SECONDS: Final = 5.0
_REQUEST_SECONDS: Final = 30.0
_WATCH_SILENCE_SECONDS: Final = 90.0
"""Bookmarks come about once a minute: a longer silence is a dead connection."""

_FAILED: Final = 400


@dataclass(frozen=True)
class Call:
    """One request; `verb` and `resource` are what metrics and messages say of it."""

    verb: str
    method: str
    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    query: tuple[tuple[str, str], ...] = ()
    body: Any = None
    content_type: str = "application/json"

    @property
    def attempt(self) -> str:
        """`apply Deployment shop/orders-alice`, for messages."""
        target = "/".join(part for part in (self.namespace, self.name) if part)
        return " ".join(part for part in (self.verb, self.resource.kind, target) if part)

    @property
    def path(self) -> str:
        """The REST path; names are DNS names and need no quoting."""
        resource = self.resource
        root = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
        scope = f"/namespaces/{self.namespace}" if resource.namespaced and self.namespace else ""
        tail = "/".join(part for part in ("", resource.plural, self.name, self.subresource) if part)
        return f"{root}{scope}/{tail}"


class Transport:
    """Sends calls with the credentials of an ApiClient."""

    def __init__(self, api_client: client.ApiClient) -> None:
        self._client = api_client

    async def send(self, call: Call) -> Object:
        """The JSON object of the answer.

        Raises:
            SidestreamError: as `kube.errors` tells from answer or failure.
        """
        patience = aiohttp.ClientTimeout(total=_REQUEST_SECONDS, sock_connect=_CONNECT_SECONDS)
        async with self._answer(call, patience) as answer:
            return _object(call, await answer.read())

    async def stream(self, call: Call) -> AsyncIterator[Object]:
        """The JSON objects of an answer that has one per line and stays open.

        Raises:
            SidestreamError: as above; a silence of 90 s counts as a lost connection.
        """
        patience = aiohttp.ClientTimeout(sock_connect=_CONNECT_SECONDS, sock_read=_WATCH_SILENCE_SECONDS)
        async with self._answer(call, patience) as answer:
            async for line in answer.content:
                yield _object(call, line)

    @asynccontextmanager
    async def _answer(self, call: Call, patience: aiohttp.ClientTimeout) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer, open; whatever fails until it is closed is counted and told in our own errors."""
        code = "error"
        try:
            answer = await self._open(call, patience)
            code = str(answer.status)
            try:
                if answer.status >= _FAILED:
                    raise error_of_answer(
                        attempt=call.attempt, status=answer.status, headers=answer.headers, body=await answer.read()
                    )
                yield answer
            finally:
                answer.close() if call.verb == "watch" else answer.release()
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            code = "error"
            raise error_of_failure(attempt=call.attempt, error=error) from error
        finally:
            metrics.KUBE_REQUESTS.labels(call.verb, call.resource.plural, code).inc()

    async def _open(self, call: Call, patience: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        method, url, headers, body, _ = await self._client.param_serialize(
            call.method,
            call.path,
            query_params=list(call.query),
            header_params={"Accept": "application/json", "Content-Type": call.content_type},
            body=call.body,
            auth_settings=["BearerToken"],
        )
        answer = await self._client.call_api(method, url, headers, body, _request_timeout=patience)
        response: aiohttp.ClientResponse = answer.response
        return response


def _object(call: Call, text: bytes) -> Object:
    try:
        found: Object = json.loads(text)
    except ValueError as error:
        raise TransientError(f"the answer to {call.attempt} is no JSON; is a proxy in the way?") from error
    return found


@asynccontextmanager
async def open_transport(kubeconfig: str | None = None, context: str | None = None) -> AsyncIterator[Transport]:
    """A transport with the credentials of a kubeconfig if one is named, else of the Pod, else of ~/.kube/config.

    `kubeconfig` defaults to the environment's KUBECONFIG.

    Raises:
        KubeError: no usable credentials; the message says where they were looked for.
    """
    settings = await _configuration(kubeconfig or os.environ.get("KUBECONFIG"), context, os.environ)
    async with client.ApiClient(settings) as api_client:
        yield Transport(api_client)


async def _configuration(
    kubeconfig: str | None, context: str | None, environment: Mapping[str, str]
) -> client.Configuration:
    settings = client.Configuration()
    in_pod = kubeconfig is None and "KUBERNETES_SERVICE_HOST" in environment
    try:
        if in_pod:
            config.load_incluster_config(client_configuration=settings)  # type: ignore[no-untyped-call]
        else:
            await config.load_kube_config(  # type: ignore[no-untyped-call]
                config_file=kubeconfig, context=context, client_configuration=settings
            )
    except config.ConfigException as error:
        where = "the Pod's service account" if in_pod else kubeconfig or "the default kubeconfig"
        raise KubeError(f"no usable Kubernetes credentials in {where}: {error}", status=0) from error
    return settings
