"""Events that users see in `kubectl describe`: what happened to an object, in the past tense, only when it happened."""

from __future__ import annotations

import uuid
from typing import Final, Literal

import structlog

from sidestream.api.times import format_micro_time
from sidestream.errors import SidestreamError
from sidestream.kube.port import EVENTS, KubeApi, Object, Resource
from sidestream.runtime.clock import Clock

EventType = Literal["Normal", "Warning"]

_CONTROLLER: Final = "sidestream.dev/operator"
_MAX_NOTE: Final = 1024
_MAX_NAME: Final = 200
_CLUSTER_EVENTS_NAMESPACE: Final = "default"

_log = structlog.get_logger(__name__)


class EventRecorder:
    """Writes Events as `instance`, the operator's own Pod name.

    Call it on transitions only: it never merges repetitions.
    """

    def __init__(self, api: KubeApi, clock: Clock, *, instance: str = "sidestream") -> None:
        self._api = api
        self._clock = clock
        self._instance = instance

    async def record(self, resource: Resource, obj: Object, type_: EventType, reason: str, message: str) -> None:
        """Tell about `obj`, a live object. An Event that cannot be written is logged and given up: it is only news."""
        event = self._event(resource, obj, type_, reason, message)
        try:
            await self._api.create(EVENTS, event)
        except SidestreamError as error:
            _log.warning("event not written", regarding=obj["metadata"]["name"], reason=reason, error=str(error))

    def _event(self, resource: Resource, obj: Object, type_: EventType, reason: str, message: str) -> Object:
        metadata = obj["metadata"]
        # Kubernetes demands that the event of a cluster-scoped object live in `default`
        namespace = metadata.get("namespace") or _CLUSTER_EVENTS_NAMESPACE
        return {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"name": f"{metadata['name'][:_MAX_NAME]}.{uuid.uuid4().hex[:16]}", "namespace": namespace},
            "eventTime": format_micro_time(self._clock.now()),
            "reportingController": _CONTROLLER,
            "reportingInstance": self._instance,
            "action": reason,
            "reason": reason,
            "type": type_,
            "note": message if len(message) <= _MAX_NOTE else message[: _MAX_NOTE - 1] + "…",
            "regarding": {
                "apiVersion": resource.api_version,
                "kind": resource.kind,
                "name": metadata["name"],
                "namespace": metadata.get("namespace", ""),
                "uid": metadata.get("uid", ""),
            },
        }
