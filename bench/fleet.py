"""What the mapping service needs for many objects: `python -m bench.fleet CONSUMERS TENANTS PARTITIONS` prints JSON.

A process of its own, so that its memory is that of the store and nothing else. The objects come as JSON from a made-up
API server and go the way of real ones: reflector, models, answers.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncGenerator, Iterator, Sequence

from bench.process import resident_bytes
from sidestream.config import HeaderSettings
from sidestream.kube.epoch import LENGTH
from sidestream.kube.port import KAFKA_CONSUMERS, KAFKA_ROUTES, SANDBOXES, Object, Resource
from sidestream.kube.reflector import Keep, WatchEvent, whole
from sidestream.mapping.answers import Header
from sidestream.mapping.directory import Workload
from sidestream.mapping.store import MappingStore
from sidestream.runtime.clock import SystemClock

NAMESPACE = "shop"
PATIENCE = 600.0


class MadeUp:
    """Implements `WatchableApi` with so many consumers, each with so many tenants and partitions."""

    def __init__(self, consumers: int, tenants: int, partitions: int) -> None:
        self._consumers = consumers
        self._tenants = tenants
        self._partitions = partitions

    async def list_versioned(
        self, resource: Resource, namespace: str = "", *, labels: str = "", keep: Keep = whole
    ) -> tuple[Sequence[Object], str]:
        """All objects of a kind, each parsed by itself as from the wire."""
        del namespace, labels
        make = {KAFKA_CONSUMERS: self._consumer_texts, KAFKA_ROUTES: self._route_texts, SANDBOXES: _no_texts}[resource]
        about = {"apiVersion": resource.api_version, "kind": resource.kind}
        return [keep({**about, **json.loads(text)}) for text in make()], "1"

    async def watch(
        self, resource: Resource, namespace: str = "", *, labels: str = "", resource_version: str
    ) -> AsyncGenerator[WatchEvent, None]:
        """Nothing ever happens."""
        del resource, namespace, labels, resource_version
        await asyncio.Event().wait()
        yield WatchEvent("BOOKMARK", {})

    def _consumer_texts(self) -> Iterator[str]:
        return (json.dumps(self._consumer(number)) for number in range(self._consumers))

    def _route_texts(self) -> Iterator[str]:
        return (
            json.dumps(self._route(number, tenant))
            for number in range(self._consumers)
            for tenant in range(self._tenants)
        )

    def _consumer(self, number: int) -> Object:
        spec = {
            "cluster": "main",
            "deployment": f"service-{number}",
            "group": f"service-{number}",
            "topics": [f"topic-{number}"],
            "groupEnv": {"name": "KAFKA_GROUP_ID"},
        }
        return {"metadata": _metadata(f"service-{number}"), "spec": spec}

    def _route(self, number: int, tenant: int) -> Object:
        group = f"service-{number}.sbx.tenant-{tenant}"
        spec = {
            "sandbox": f"tenant-{tenant}",
            "consumer": f"service-{number}",
            "cluster": "main",
            "deployment": f"service-{number}",
            "fork": f"service-{number}-tenant-{tenant}",
            "baselineGroup": f"service-{number}",
            "forkGroup": group,
            "topics": [f"topic-{number}"],
            "keys": [f"tenant-{tenant}"],
            "coordination": "Fenced",
        }
        offsets = [
            {"topic": f"topic-{number}", "partition": partition, "offset": 10_000_000 + partition * 1000 + tenant}
            for partition in range(self._partitions)
        ]
        status = {
            "phase": "Active",
            "group": {"name": group, "state": "Stable", "members": 1},
            "start": offsets,
            "claims": [{"id": f"{number:04}{tenant:06}", "key": f"tenant-{tenant}", "fences": _fences(offsets)}],
        }
        return {"metadata": _metadata(f"service-{number}-tenant-{tenant}"), "spec": spec, "status": status}


def _fences(offsets: list[Object]) -> list[Object]:
    """Each began at its offset, as it stands for most of a fork's life."""
    return [
        {"topic": item["topic"], "partition": item["partition"], "state": "From", "from": item["offset"]}
        for item in offsets
    ]


def _no_texts() -> Iterator[str]:
    return iter(())


def _metadata(name: str) -> Object:
    return {
        "name": name,
        "namespace": NAMESPACE,
        "uid": f"uid-{name}",
        "resourceVersion": "1",
        "generation": 1,
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }


async def fill(consumers: int, tenants: int, partitions: int) -> dict[str, float]:
    """Sizes in bytes and times in seconds of a store that holds all of it, without and with every answer made."""
    before = resident_bytes()
    api, header = MadeUp(consumers, tenants, partitions), Header.of(HeaderSettings())
    store = MappingStore(api, SystemClock(), header=header, epoch=_epoch)
    async with asyncio.timeout(PATIENCE):
        watching = asyncio.create_task(store.run())
        while store.why_not_ready() is not None:  # noqa: ASYNC110 - the store tells nobody that it is ready
            await asyncio.sleep(0.05)
    listed = resident_bytes()
    begin = time.perf_counter()
    answers = [store.etag(Workload(NAMESPACE, f"service-{number}")) for number in range(consumers)]
    seconds = time.perf_counter() - begin
    watching.cancel()
    return {
        "before_bytes": before,
        "listed_bytes": listed,
        "after_bytes": resident_bytes(),
        "answers": len({*answers} - {None}),
        "answers_seconds": seconds,
        "answer_bytes": _answer_bytes(store),
    }


def _answer_bytes(store: MappingStore) -> int:
    """Of one consumer; all are of a size."""
    encoded = store.directory.consumer(Workload(NAMESPACE, "service-0")) if store.directory else None
    return len(encoded.body) if encoded else 0


async def _epoch() -> str:
    return "0" * LENGTH


def main() -> None:
    """Run the command line."""
    sys.stdout.write(json.dumps(asyncio.run(fill(*(int(argument) for argument in sys.argv[1:])))) + "\n")


if __name__ == "__main__":
    main()
