"""The fences of a hand-off, as a KafkaRoute's status has them: from which record on whose a tenant's records are."""

from collections.abc import Collection
from dataclasses import dataclass

from sidestream.kube.port import Object
from sidestream_demo.errors import BrokenPromiseError


@dataclass(frozen=True)
class Fence:
    """Where a tenant's hand-off stands on one partition; the three offsets are None until they are known."""

    tenant: str
    topic: str
    partition: int
    state: str
    begin: int | None
    hold: int | None
    until: int | None


def fences_of(route: Object | None) -> tuple[Fence, ...]:
    """The fences in the status of a KafkaRoute, none where there is no such object."""
    claims = ((route or {}).get("status") or {}).get("claims") or ()
    return tuple(
        Fence(
            claim["key"],
            fence["topic"],
            fence["partition"],
            fence["state"],
            fence.get("from"),
            fence.get("hold"),
            fence.get("until"),
        )
        for claim in claims
        for fence in claim.get("fences") or ()
    )


def check_begun(fences: Collection[Fence], tenant: str, topic: str, partitions: int) -> None:
    """Raise BrokenPromiseError unless every partition of the topic says from which record on it is the fork's."""
    begun = {
        fence.partition
        for fence in fences
        if (fence.tenant, fence.topic) == (tenant, topic) and fence.begin is not None
    }
    missing = sorted(set(range(partitions)) - begun)
    if missing:
        raise BrokenPromiseError(
            f"The fork of tenant {tenant} is active, but partition {missing[0]} of {topic} has no fence that says from "
            "which record on it is the fork's."
        )
