"""A small cluster around the Sandbox reconciler: the fake API server, and what other controllers would do to it."""

from __future__ import annotations

from typing import Any

from builders import FakeClock, deployment, finalized, generation, pod, sandbox, service
from fakes.kube import FakeKubeApi
from sidestream.api.labels import (
    BASELINE_SERVICE,
    FINALIZER,
    MANAGED_BY,
    MANAGED_BY_VALUE,
    SANDBOX,
    manager_of_route,
)
from sidestream.kube import port
from sidestream.kube.events import EventRecorder
from sidestream.kube.port import KubeApi, Object
from sidestream.runtime.reconcile import ObjectKey, Outcome
from sidestream.sandbox.plan import SandboxConfig
from sidestream.sandbox.reconcile import SandboxReconciler

ALICE = ObjectKey("shop", "alice")

NEXT_PHASE = {
    "Polling": {"Pending": "Creating", "Creating": "Preparing", "Preparing": "Active", "Active": "Active"},
    "Fenced": {"Pending": "Preparing", "Preparing": "Creating", "Creating": "Active", "Active": "Active"},
}
NEXT_PHASE_OF_LEAVING = {
    "Polling": {
        "Creating": "Drained",
        "Preparing": "Draining",
        "Active": "Draining",
        "Draining": "Drained",
        "Drained": "Deleting",
        "Deleting": "Deleting",
    },
    "Fenced": {
        "Preparing": "Creating",
        "Creating": "Active",
        "Active": "Freezing",
        "Freezing": "PreparingOff",
        "PreparingOff": "Draining",
        "Draining": "Drained",
        "Drained": "Deleting",
        "Deleting": "Retiring",
        "Retiring": "Retiring",
    },
}
LAST_PHASE = {"Polling": "Deleting", "Fenced": "Retiring"}


class Cluster:
    """Namespace `shop` with Deployments, Services and whatever a test seeds; `alice` is the Sandbox under test."""

    def __init__(self, *objects: Object) -> None:
        self.api = FakeKubeApi(*(objects or (deployment(), service(), sandbox())))
        self.clock = FakeClock()
        self.has_baseline_passed = True

    # --- the reconciler under test

    async def reconcile(self, key: ObjectKey = ALICE, api: KubeApi | None = None) -> Outcome:
        """Run the reconciler once, against the fake itself or something around it."""
        api = api or self.api
        return await SandboxReconciler(api, EventRecorder(api, self.clock), self.clock, SandboxConfig()).reconcile(key)

    async def settle(self, key: ObjectKey = ALICE, rounds: int = 40) -> None:
        """Let the reconciler and the others take turns until nothing changes any more."""
        for _ in range(rounds):
            before = self._versions()
            await self.reconcile(key)
            await self.others()
            if self._versions() == before:
                return
        raise AssertionError("the cluster never comes to rest")

    # --- everybody else

    async def others(self) -> None:
        """One turn of all other controllers."""
        self.run_deployments()
        self.run_pods()
        self.run_kafka()
        await self.run_routing()
        self.collect_garbage()

    def run_deployments(self) -> None:
        """Roll out every Deployment at once."""
        for item in self.api.stored(port.DEPLOYMENTS).values():
            count = item["spec"].get("replicas", 1)
            status = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), count)
            self.api.seed({**item, "status": {"observedGeneration": item["metadata"]["generation"], **status}})

    def run_pods(self) -> None:
        """Make the pods that forks want and remove the others."""
        wanted = {}
        for item in self.api.stored(port.DEPLOYMENTS).values():
            for number in range(item["spec"].get("replicas", 1)):
                name = f"{item['metadata']['name']}-{number}"
                wanted[name] = pod(name, _labels_of_pods(item))
        for found in self.api.stored(port.PODS).values():
            if found["metadata"]["name"] not in wanted:
                self.api.remove(port.PODS, found["metadata"]["name"])
        for name, item in wanted.items():
            if self.api.live(port.PODS, name) is None:
                self.api.seed(item)

    def run_kafka(self) -> None:
        """Move every KafkaRoute on by one phase; under Fenced one with records is stranded while it has no pods."""
        for item in self.api.stored(port.KAFKA_ROUTES).values():
            name = item["metadata"]["name"]
            kind = item["spec"]["coordination"]
            phase = item.get("status", {"phase": "Pending"})["phase"]
            if "deletionTimestamp" not in item["metadata"]:
                self._set_phase(item, NEXT_PHASE[kind][phase])
            elif phase == "Pending" or (phase == LAST_PHASE[kind] and self._may_end(phase)):
                self.api.remove(port.KAFKA_ROUTES, name)
            elif phase == "Draining" and kind == "Fenced" and not self._has_pods(item):
                self._set_phase(item, phase, stranded=True)
            elif phase != "Drained" or not self._has_pods(item):
                self._set_phase(item, NEXT_PHASE_OF_LEAVING[kind][phase])

    def collect_garbage(self) -> None:
        """Remove what an owner that is gone has left, unless a finalizer holds it."""
        owners = {item["metadata"]["uid"] for item in self.api.stored(port.SANDBOXES).values()}
        for kind in (port.DEPLOYMENTS, port.SERVICES, port.KAFKA_ROUTES, port.CONTROLLER_REVISIONS):
            for item in self.api.stored(kind).values():
                metadata = item["metadata"]
                references = metadata.get("ownerReferences", ())
                is_orphan = references and not any(owner["uid"] in owners for owner in references)
                if is_orphan and not metadata.get("finalizers"):
                    self.api.remove(kind, metadata["name"])

    async def run_routing(self) -> None:
        """Write the entry of every forked Service into its Sandbox's status, and take back the others."""
        for item in self.api.stored(port.SANDBOXES).values():
            name, going = item["metadata"]["name"], "deletionTimestamp" in item["metadata"]
            offered = {
                found["metadata"]["labels"][BASELINE_SERVICE]
                for found in self.api.stored(port.SERVICES).values()
                if found["metadata"].get("labels", {}).get(SANDBOX) == name
                and BASELINE_SERVICE in found["metadata"]["labels"]
            }
            entries = {entry["service"] for entry in item.get("status", {}).get("routes", ())}
            for service_name in sorted(entries | offered):
                stays = service_name in offered and not going
                keys = item.get("status", {}).get("routingKeys", [])
                await self.write_route(name, service_name, "Programmed" if stays else None, keys=keys)

    async def write_route(self, name: str, service_name: str, state: str | None, **fields: Any) -> None:
        """The entry of one Service in a Sandbox's status as its reconciler writes it; None takes it back."""
        live = self.sandbox(name)
        entry = {
            "service": service_name,
            "provider": "VirtualService",
            "mode": "Owned",
            "object": f"sidestream-{service_name}",
            "state": state,
            "reason": state,
            "message": "",
            "observedGeneration": live["metadata"]["generation"],
            **fields,
        }
        status = {} if state is None else {"routes": [entry]}
        identity = {"apiVersion": live["apiVersion"], "kind": live["kind"], "metadata": live["metadata"]}
        await self.api.apply_status(
            port.SANDBOXES, {**identity, "status": status}, manager=manager_of_route(service_name)
        )

    # --- what a test changes and looks at

    def sandbox(self, name: str = "alice") -> Object:
        """The live Sandbox, which must be there."""
        live = self.api.live(port.SANDBOXES, name)
        assert live is not None
        return live

    def edit(self, name: str = "alice", **spec: Any) -> None:
        """Change fields of a Sandbox's spec as a user would."""
        live = self.sandbox(name)
        self.api.seed({**live, "spec": {**live["spec"], **spec}})

    async def delete(self, name: str = "alice") -> None:
        """Delete a Sandbox as a user would."""
        await self.api.delete(port.SANDBOXES, "shop", name)

    def condition(self, type_: str, name: str = "alice") -> tuple[str, str, str]:
        """Status, reason and message of one of the Sandbox's conditions."""
        found = next(item for item in self.sandbox(name)["status"]["conditions"] if item["type"] == type_)
        return found["status"], found["reason"], found["message"]

    def conditions(self, name: str = "alice") -> dict[str, str]:
        """`status/reason` of all of the Sandbox's conditions."""
        return {
            item["type"]: f"{item['status']}/{item['reason']}" for item in self.sandbox(name)["status"]["conditions"]
        }

    def made(self) -> list[str]:
        """Everything with our labels but pods, as `plural/name`."""
        kinds = (port.DEPLOYMENTS, port.SERVICES, port.KAFKA_ROUTES, port.CONTROLLER_REVISIONS)
        return sorted(
            f"{kind.plural}/{item['metadata']['name']}"
            for kind in kinds
            for item in self.api.stored(kind).values()
            if item["metadata"].get("labels", {}).get(MANAGED_BY) == MANAGED_BY_VALUE
        )

    def writes(self) -> list[str]:
        """What our reconciler wrote since requests were last forgotten, without Events."""
        return [
            str(request)
            for request in self.api.writes
            if request.resource is not port.EVENTS and not request.manager.startswith("sidestream-route-")
        ]

    def events(self) -> list[str]:
        """The reasons of all Events, in order."""
        return [item["reason"] for item in self.api.stored(port.EVENTS).values()]

    def state(self) -> Object:
        """All objects but Events, without what two runs to the same end may differ in."""
        kinds = (
            port.SANDBOXES,
            port.DEPLOYMENTS,
            port.SERVICES,
            port.KAFKA_ROUTES,
            port.CONTROLLER_REVISIONS,
            port.PODS,
        )
        return {
            f"{kind.plural} {name}": _comparable(item) for kind in kinds for name, item in self.api.stored(kind).items()
        }

    # --- how it works

    def _versions(self) -> Object:
        return {str(key): item["metadata"]["resourceVersion"] for key, item in self.api._objects.items()}

    def _may_end(self, phase: str) -> bool:
        return phase != "Retiring" or self.has_baseline_passed

    def _set_phase(self, item: Object, phase: str, **fields: Any) -> None:
        is_ready = phase == "Active" and self._has_pods(item)
        said = {
            "type": "Ready",
            "status": "True" if is_ready else "False",
            "reason": "Active" if is_ready else "Draining" if "deletionTimestamp" in item["metadata"] else "Pending",
            "message": f"The hand-off is {phase}.",
            "observedGeneration": item["metadata"]["generation"],
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        status: Object = {"phase": phase, "conditions": [said], **fields}
        if phase != "Pending":
            status["group"] = {"name": item["spec"]["forkGroup"]}
        live = {**item, "status": status}
        finalized(FINALIZER)(live)
        generation(item["metadata"]["generation"])(live)
        self.api.seed(live)

    def _has_pods(self, route: Object) -> bool:
        fork = route["spec"]["fork"]
        return any(item["metadata"]["name"].startswith(f"{fork}-") for item in self.api.stored(port.PODS).values())


def _labels_of_pods(item: Object) -> Any:
    def modify(obj: Object) -> None:
        obj["metadata"]["labels"] = dict(item["spec"]["template"]["metadata"]["labels"])

    return modify


def _comparable(item: Object) -> Object:
    volatile = ("resourceVersion", "generation", "uid", "managedFields")
    kept = {name: value for name, value in item.items() if name != "metadata"}
    kept["metadata"] = {name: value for name, value in item["metadata"].items() if name not in volatile}
    return kept
