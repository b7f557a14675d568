"""`FakeKubeApi`: an in-memory API server for unit tests of reconcilers; flows are tested against a real one.

It keeps uid, resourceVersion, generation, the status subresource, finalizers with deletionTimestamp, field ownership
of server-side apply, and a log of all requests. It does not validate, default, collect garbage or run controllers.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jsonpatch

from builders import CREATED, NAMESPACE
from fakes.fields import Path, Schema, fields_tree, owned_part, remove
from sidestream.errors import ConflictError, NotServedError, ObjectRejectedError
from sidestream.kube import port
from sidestream.kube.port import Object, Resource

KINDS: dict[tuple[str, str], Resource] = {
    (value.api_version, value.kind): value for value in vars(port).values() if isinstance(value, Resource)
}
WITHOUT_STATUS = {"Lease", "Event", "Secret", "ControllerRevision"}
WITHOUT_GENERATION = {"", "coordination.k8s.io", "events.k8s.io"}
WRITES = {"apply", "apply_status", "patch", "delete", "create", "replace"}

Key = tuple[Resource, str, str]
Manager = tuple[str, str, str]
"""Name, operation (Apply or Update), subresource."""


@dataclass(frozen=True)
class Request:
    """One call; `manager` is empty but for server-side apply."""

    verb: str
    resource: Resource
    namespace: str
    name: str
    manager: str = ""

    @property
    def is_write(self) -> bool:
        return self.verb in WRITES

    def __str__(self) -> str:
        """`apply deployments shop/orders-alice as sidestream-sandbox`."""
        target = "/".join(part for part in (self.namespace, self.name) if part)
        return f"{self.verb} {self.resource.plural} {target}" + (f" as {self.manager}" if self.manager else "")


@dataclass
class _Failure:
    error: Exception
    verb: str
    resource: Resource | None
    times: int

    def is_for(self, request: Request) -> bool:
        return self.times > 0 and self.verb in ("", request.verb) and self.resource in (None, request.resource)


class FakeKubeApi:
    """Implements `KubeApi`; everything below the port's own methods is for tests to arrange and to look."""

    def __init__(self, *objects: Object) -> None:
        self.requests: list[Request] = []
        self._objects: dict[Key, Object] = {}
        self._owned: dict[Key, dict[Manager, set[Path]]] = {}
        self._failures: list[_Failure] = []
        self._not_served: set[Resource] = set()
        self._version = 1000
        self._uids = 0
        for obj in objects:
            self.seed(obj)

    # --- for tests

    def is_served(self, resource: Resource) -> bool:
        return resource not in self._not_served

    def seed(self, obj: Object) -> Object:
        """Put an object as a user or another controller would, status included; replaces one that is there.

        resourceVersion and, where the spec differs from the live one, generation move on by themselves.
        """
        resource = KINDS[obj["apiVersion"], obj["kind"]]
        key = _key(resource, obj)
        new = copy.deepcopy(obj)
        old = self._objects.get(key)
        if old is not None:
            new["metadata"] = {**copy.deepcopy(old["metadata"]), **new["metadata"]}
            new["metadata"]["generation"] = old["metadata"].get("generation", 1)
            new["metadata"]["uid"] = old["metadata"]["uid"]
        return self._store(key, new, ("test", "Update", ""))

    def live(self, resource: Resource, name: str, namespace: str = NAMESPACE) -> Object | None:
        """A copy of what is stored; not logged as a request."""
        found = self._objects.get((resource, namespace if resource.namespaced else "", name))
        return None if found is None else self._shown((resource, namespace if resource.namespaced else "", name))

    def stored(self, resource: Resource) -> dict[str, Object]:
        """All objects of a kind by `namespace/name` (or name)."""
        return {
            "/".join(part for part in key[1:] if part): self._shown(key) for key in self._objects if key[0] == resource
        }

    def remove(self, resource: Resource, name: str, namespace: str = NAMESPACE) -> None:
        """Make an object vanish, finalizers or not."""
        key = (resource, namespace if resource.namespaced else "", name)
        del self._objects[key]
        self._owned.pop(key, None)

    @property
    def writes(self) -> list[Request]:
        """The requests that write, in order."""
        return [request for request in self.requests if request.is_write]

    def forget_requests(self) -> None:
        self.requests.clear()

    def fail(self, error: Exception, *, verb: str = "", resource: Resource | None = None, times: int = 1) -> None:
        """Let the next `times` calls that match raise `error` and change nothing."""
        self._failures.append(_Failure(error, verb, resource, times))

    def unserve(self, *resources: Resource) -> None:
        """As if the CRDs of these kinds were not installed."""
        self._not_served.update(resources)

    # --- KubeApi

    async def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        self._note(Request("get", resource, namespace, name))
        key = (resource, namespace, name)
        return self._shown(key) if key in self._objects else None

    async def list(self, resource: Resource, namespace: str = "", *, labels: str = "") -> list[Object]:
        self._note(Request("list", resource, namespace, ""))
        return [
            self._shown(key)
            for key in sorted(self._objects, key=lambda key: key[1:])
            if key[0] == resource
            and namespace in ("", key[1])
            and _selected(labels, self._objects[key]["metadata"].get("labels", {}))
        ]

    async def apply(self, resource: Resource, obj: Object, *, manager: str, force: bool = True) -> Object:
        assert force, "the fake always forces"
        key = _key(resource, obj)
        self._note(Request("apply", resource, key[1], key[2], manager))
        desired = copy.deepcopy(obj)
        if resource.kind not in WITHOUT_STATUS:
            desired.pop("status", None)
        return self._apply(key, desired, (manager, "Apply", ""))

    async def apply_status(self, resource: Resource, obj: Object, *, manager: str) -> Object:
        key = _key(resource, obj)
        self._note(Request("apply_status", resource, key[1], key[2], manager))
        live = self._existing(key)
        if obj["metadata"].get("resourceVersion") not in (None, live["metadata"]["resourceVersion"]):
            raise ConflictError(f"{resource.kind} {key[2]} has changed")
        return self._apply(key, {"status": copy.deepcopy(obj.get("status", {}))}, (manager, "Apply", "status"))

    async def patch(self, resource: Resource, namespace: str, name: str, operations: Sequence[Object]) -> Object:
        self._note(Request("patch", resource, namespace, name))
        key = (resource, namespace, name)
        live = self._existing(key)
        try:
            new = jsonpatch.apply_patch(copy.deepcopy(live), copy.deepcopy(list(operations)))
        except jsonpatch.JsonPatchTestFailed as error:
            raise ConflictError(f"{resource.kind} {name} has changed") from error
        except jsonpatch.JsonPatchException as error:
            raise ObjectRejectedError(f"the patch does not fit: {error}", status=422) from error
        self._keep_status(resource, live, new)
        return self._store(key, new, ("client", "Update", ""))

    async def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        *,
        uid: str | None = None,
        propagation: Literal["Background", "Foreground", "Orphan"] = "Background",
    ) -> None:
        del propagation  # garbage collection is a controller's work
        self._note(Request("delete", resource, namespace, name))
        key = (resource, namespace, name)
        live = self._objects.get(key)
        if live is None or (uid is not None and live["metadata"]["uid"] != uid):
            return
        if not live["metadata"].get("finalizers"):
            self.remove(resource, name, namespace)
        elif "deletionTimestamp" not in live["metadata"]:
            new = copy.deepcopy(live)
            new["metadata"] |= {"deletionTimestamp": CREATED, "deletionGracePeriodSeconds": 0}
            new["metadata"]["generation"] = new["metadata"].get("generation", 0) + 1
            self._store(key, new, ("client", "Update", ""))

    async def create(self, resource: Resource, obj: Object) -> Object:
        key = _key(resource, obj)
        self._note(Request("create", resource, key[1], key[2]))
        if key in self._objects:
            raise ConflictError(f"{resource.kind} {key[2]} exists")
        new = copy.deepcopy(obj)
        if resource.kind not in WITHOUT_STATUS:
            new.pop("status", None)
        return self._store(key, new, ("client", "Update", ""))

    async def replace(self, resource: Resource, obj: Object) -> Object:
        key = _key(resource, obj)
        self._note(Request("replace", resource, key[1], key[2]))
        live = self._existing(key)
        if obj["metadata"].get("resourceVersion") not in (None, live["metadata"]["resourceVersion"]):
            raise ConflictError(f"{resource.kind} {key[2]} has changed")
        new = copy.deepcopy(obj)
        for name in ("uid", "generation", "creationTimestamp", "deletionTimestamp"):
            if name in live["metadata"]:
                new["metadata"][name] = live["metadata"][name]
        self._keep_status(resource, live, new)
        return self._store(key, new, ("client", "Update", ""))

    # --- how it works

    def _note(self, request: Request) -> None:
        self.requests.append(request)
        if request.resource in self._not_served:
            raise NotServedError(f"{request.resource.kind} is not served: its CRD is not installed", status=404)
        for failure in self._failures:
            if failure.is_for(request):
                failure.times -= 1
                raise failure.error

    def _existing(self, key: Key) -> Object:
        live = self._objects.get(key)
        if live is None:
            raise ConflictError(f"{key[0].kind} {key[2]} is gone")
        return live

    def _shown(self, key: Key) -> Object:
        shown = copy.deepcopy(self._objects[key])
        shown["metadata"]["managedFields"] = [
            {"manager": name, "operation": operation, "fieldsType": "FieldsV1", "fieldsV1": fields_tree(paths)}
            | ({"subresource": subresource} if subresource else {})
            for (name, operation, subresource), paths in sorted(self._owned.get(key, {}).items())
            if paths
        ]
        return shown

    @staticmethod
    def _keep_status(resource: Resource, live: Object, new: Object) -> None:
        if resource.kind in WITHOUT_STATUS:
            return
        new.pop("status", None)
        if "status" in live:
            new["status"] = copy.deepcopy(live["status"])

    def _apply(self, key: Key, desired: Object, manager: Manager) -> Object:
        schema = Schema(key[0].kind)
        live = copy.deepcopy(self._objects.get(key, {}))
        live.get("metadata", {}).pop("managedFields", None)
        owned = self._owned.get(key, {})
        spoken_of = set(schema.leaves(owned_part(desired))) - {()}
        kept_by_others = set[Path]().union(*(paths for other, paths in owned.items() if other != manager))
        new = schema.merged(live, desired)
        given_up = owned.get(manager, set()) - spoken_of - kept_by_others
        # an item goes whole, before its fields would be looked for
        for path in sorted(given_up, key=lambda path: (path[-1] != ".", len(path))):
            if path[-1] != ".":
                remove(new, path)
            elif not any(other[: len(path) - 1] == path[:-1] for other in kept_by_others):
                remove(new, path[:-1])
        if "status" in desired:
            new.setdefault("status", {})
        shown = self._store(key, new, manager)
        if key not in self._objects:
            return shown
        self._owned[key][manager] = spoken_of
        return self._shown(key)

    def _store(self, key: Key, new: Object, manager: Manager) -> Object:
        resource, namespace, name = key
        old = self._objects.get(key)
        metadata = new.setdefault("metadata", {})
        metadata.pop("managedFields", None)
        if old is None:
            self._uids += 1
            metadata.setdefault("uid", f"uid-{self._uids}")
            metadata.setdefault("creationTimestamp", CREATED)
            if resource.group not in WITHOUT_GENERATION:
                metadata.setdefault("generation", 1)
        elif resource.group not in WITHOUT_GENERATION and _spec(old) != _spec(new):
            metadata["generation"] = old["metadata"].get("generation", 1) + 1
        if "deletionTimestamp" in metadata and not metadata.get("finalizers") and old is not None:
            self.remove(resource, name, namespace)
            return copy.deepcopy(new)
        if old is None or {**new, "metadata": {**metadata, "resourceVersion": ""}} != {
            **old,
            "metadata": {**old["metadata"], "resourceVersion": ""},
        }:
            self._version += 1
            metadata["resourceVersion"] = str(self._version)
        self._note_ownership(key, old, new, manager)
        self._objects[key] = new
        return self._shown(key)

    def _note_ownership(self, key: Key, old: Object | None, new: Object, manager: Manager) -> None:
        schema = Schema(key[0].kind)
        before = schema.leaves(owned_part(old)) if old is not None else {}
        after = schema.leaves(owned_part(new))
        changed = {path for path in after if path not in before or before[path] != after[path]}
        gone = set(before) - set(after)
        owned = self._owned.setdefault(key, {})
        for other in owned:
            owned[other] -= gone if other == manager else gone | changed
        owned.setdefault(manager, set()).update(changed)


def _key(resource: Resource, obj: Object) -> Key:
    metadata = obj["metadata"]
    return resource, metadata.get("namespace", "") if resource.namespaced else "", metadata["name"]


def _spec(obj: Object) -> dict[str, Any]:
    return {name: value for name, value in obj.items() if name not in ("metadata", "status", "apiVersion", "kind")}


def _selected(selector: str, labels: dict[str, str]) -> bool:
    return all(_term_holds(term.strip(), labels) for term in _terms(selector))


def _terms(selector: str) -> Iterable[str]:
    return [term for term in selector.split(",") if term]


def _term_holds(term: str, labels: dict[str, str]) -> bool:
    if "!=" in term:
        key, value = term.split("!=")
        return labels.get(key) != value
    if "=" in term:
        key, value = term.replace("==", "=").split("=")
        return labels.get(key) == value
    return term[1:] not in labels if term.startswith("!") else term in labels
