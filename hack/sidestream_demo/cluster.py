"""One Kubernetes cluster as the demo, the end-to-end tests and the benchmarks drive it.

Objects are raw JSON. Requests go through `kubectl proxy` on a socket of its own, so that every way to authenticate that
kubectl knows works here too.
"""

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import httpx

from sidestream.kube.port import Object, Resource
from sidestream_demo.errors import DemoError
from sidestream_demo.process import run, wait_until

MANAGER = "sidestream-demo"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
_WATCH_SLICE_SECONDS = 20

Propagation = Literal["Background", "Foreground", "Orphan"]


class RefusedError(DemoError):
    """The API server refused a request; `status` is the HTTP status and the text its own sentence."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Cluster(AbstractContextManager["Cluster"]):
    """The cluster of a kubeconfig file; a context manager that owns its proxy process."""

    def __init__(self, kubeconfig: Path, kubectl: str = "kubectl") -> None:
        self.kubeconfig = kubeconfig
        self._kubectl = kubectl
        self._folder = tempfile.TemporaryDirectory(prefix="sidestream-")
        self._proxy: subprocess.Popen[bytes] | None = None
        self._http = httpx.Client()

    def __enter__(self) -> Self:
        """Start the proxy."""
        socket = Path(self._folder.name) / "api.sock"
        log = Path(self._folder.name) / "proxy.log"
        with log.open("wb") as output:
            self._proxy = proxy = subprocess.Popen(
                self.kubectl_command("proxy", f"--unix-socket={socket}"), stdout=output, stderr=output
            )
        wait_until(lambda: socket.exists() or proxy.poll() is not None, 30, "kubectl proxy to start")
        if proxy.poll() is not None:
            raise DemoError(f"kubectl proxy did not start: {log.read_text().strip()}")
        self._http = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(socket), retries=2), base_url="http://localhost", timeout=60
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Stop the proxy."""
        self._http.close()
        if self._proxy is not None:
            self._proxy.terminate()
            self._proxy.wait()
        self._folder.cleanup()

    def kubectl_command(self, *arguments: str) -> list[str]:
        """The command line of kubectl against this cluster."""
        return [self._kubectl, f"--kubeconfig={self.kubeconfig}", *arguments]

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl and return what it printed."""
        return run(self.kubectl_command(*arguments), stdin=stdin)

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """The object, or None when it, or its kind, does not exist."""
        return self._maybe("GET", path_of(resource, namespace, name))

    def read(self, resource: Resource, namespace: str, name: str) -> Object:
        """The object, which must exist."""
        found = self.get(resource, namespace, name)
        if found is None:
            raise DemoError(f"There is no {resource.kind} {namespace}/{name}.")
        return found

    def objects(self, resource: Resource, namespace: str = "", *, labels: str = "") -> list[Object]:
        """All objects in a namespace ("" for all) that match a label selector; none where the kind is unknown."""
        found = self._maybe("GET", path_of(resource, namespace), params={"labelSelector": labels}) or {"items": []}
        return [{"apiVersion": resource.api_version, "kind": resource.kind, **item} for item in found["items"]]

    def create(self, resource: Resource, obj: Object) -> Object:
        """Create an object, with unknown fields refused as `kubectl create` does."""
        namespace = obj["metadata"].get("namespace", "")
        return self._send("POST", path_of(resource, namespace), params={"fieldValidation": "Strict"}, body=obj)

    def apply(self, resource: Resource, obj: Object, *, dry_run: bool = False) -> Object:
        """Server-side apply of an object, with unknown fields refused as `kubectl apply` does."""
        meta = obj["metadata"]
        params = {"fieldManager": MANAGER, "force": "true", "fieldValidation": "Strict"}
        if dry_run:
            params["dryRun"] = "All"
        path = path_of(resource, meta.get("namespace", ""), meta["name"])
        return self._send("PATCH", path, params=params, body=obj, content_type=APPLY_PATCH)

    def patch(
        self, resource: Resource, namespace: str, name: str, patch: Object | list[Object], *, subresource: str = ""
    ) -> Object:
        """Merge patch with an object, JSON patch with a list of operations."""
        kind = JSON_PATCH if isinstance(patch, list) else MERGE_PATCH
        path = path_of(resource, namespace, name, *filter(None, [subresource]))
        return self._send("PATCH", path, body=patch, content_type=kind)

    def delete(
        self, resource: Resource, namespace: str, name: str, *, propagation: Propagation = "Background", grace: int = -1
    ) -> None:
        """Ask for deletion; nothing happens when the object does not exist. `grace` of -1 is the object's own."""
        params = {"propagationPolicy": propagation} | ({"gracePeriodSeconds": str(grace)} if grace >= 0 else {})
        self._maybe("DELETE", path_of(resource, namespace, name), params=params)

    def scale(self, resource: Resource, namespace: str, name: str, replicas: int) -> None:
        """Set the number of replicas of a Deployment or StatefulSet."""
        self.patch(resource, namespace, name, {"spec": {"replicas": replicas}})

    def wait(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        condition: Callable[[Object | None], bool],
        *,
        timeout: float,
        what: str = "",
    ) -> Object | None:
        """Watch one object until `condition` holds of it (None: it does not exist); returns it as it then is.

        Raises:
            DemoError: the time is over; the text shows the object's last status.
        """
        last: Object | None = None
        for last in self.states(resource, namespace, name, timeout=timeout):
            if condition(last):
                return last
        status = json.dumps((last or {}).get("status"), indent=2) if last else "it does not exist"
        raise DemoError(
            f"{resource.kind} {namespace}/{name} is not {what or 'as expected'} after {timeout:.0f} s: {status}"
        )

    def wait_gone(self, resource: Resource, namespace: str, name: str, *, timeout: float) -> None:
        """Wait until an object is deleted, its finalizers included."""
        self.wait(resource, namespace, name, lambda found: found is None, timeout=timeout, what="gone")

    def states(self, resource: Resource, namespace: str, name: str, *, timeout: float) -> Iterator[Object | None]:
        """The object now and after each change for `timeout` seconds; None while it does not exist."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            listing = self._send("GET", path_of(resource, namespace), params={"fieldSelector": f"metadata.name={name}"})
            yield listing["items"][0] if listing["items"] else None
            for event in self._watch(resource, namespace, name, listing["metadata"]["resourceVersion"], deadline):
                if event["type"] == "ERROR":
                    break
                yield None if event["type"] == "DELETED" else event["object"]

    def _watch(
        self, resource: Resource, namespace: str, name: str, version: str, deadline: float
    ) -> Iterator[dict[str, Any]]:
        left = min(_WATCH_SLICE_SECONDS, max(1, round(deadline - time.monotonic())))
        params = {
            "watch": "true",
            "fieldSelector": f"metadata.name={name}",
            "resourceVersion": version,
            "timeoutSeconds": str(left),
        }
        # A stream that breaks is the same as one that ended: the caller lists again.
        with (
            suppress(httpx.TransportError),
            self._http.stream("GET", path_of(resource, namespace), params=params, timeout=left + 10) as stream,
        ):
            if stream.is_success:
                yield from (json.loads(line) for line in stream.iter_lines() if line)

    def _maybe(self, method: str, path: str, *, params: dict[str, str] | None = None) -> Object | None:
        try:
            return self._send(method, path, params=params)
        except RefusedError as refused:
            if refused.status == httpx.codes.NOT_FOUND:
                return None
            raise

    def _send(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, str] | None = None,
        body: Object | list[Object] | None = None,
        content_type: str = "application/json",
    ) -> Object:
        content = None if body is None else json.dumps(body)
        try:
            answer = self._http.request(
                method, path, params=params, content=content, headers={"Content-Type": content_type}
            )
        except httpx.TransportError as error:
            raise DemoError(f"The cluster of {self.kubeconfig} does not answer: {error}") from error
        if not answer.is_success:
            raise RefusedError(_message(answer), answer.status_code)
        found = answer.json()
        assert isinstance(found, dict)  # noqa: S101 - the API server answers with objects
        return found


def path_of(resource: Resource, namespace: str = "", name: str = "", *rest: str) -> str:
    """The REST path of a kind, or of one object."""
    root = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
    where = f"/namespaces/{namespace}" if namespace and resource.namespaced else ""
    return "/".join(part for part in (f"{root}{where}/{resource.plural}", name, *rest) if part)


def condition_of(obj: Object | None, type_: str) -> Object:
    """One condition of an object's status, empty when it has none of this type."""
    conditions = ((obj or {}).get("status") or {}).get("conditions") or []
    return next((item for item in conditions if item["type"] == type_), {})


def is_condition(type_: str, status: str = "True", reason: str = "") -> Callable[[Object | None], bool]:
    """Whether an object's condition has this status, and this reason where one is given, for its current generation."""

    def holds(obj: Object | None) -> bool:
        found = condition_of(obj, type_)
        generation = (obj or {}).get("metadata", {}).get("generation")
        current = found.get("observedGeneration", generation) == generation
        return bool(found) and current and found["status"] == status and (not reason or found["reason"] == reason)

    return holds


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code}: {answer.text.strip()[:200]}"
