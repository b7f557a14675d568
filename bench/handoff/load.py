"""Activations while the baseline works at its limit: how long each takes, and what it takes from the throughput.

The topic is filled beforehand, and handling a record takes a while, so that the members are always busy and a pause
that they make cannot be caught up with. Most of that while they wait, as for a database: what operator and API server
take of the processor counts too where they share a machine with the members. Each activation is of another tenant; its
fork has no members, as it has nothing to handle before the baseline comes to its first record.
"""

import time
from dataclasses import dataclass

from rich.console import Console

from bench.handoff.forks import Fork
from bench.handoff.place import Place
from bench.handoff.producer import producing
from bench.handoff.scene import PARTITIONS, scene
from bench.handoff.verdict import Window, throughput_ratio, verdict
from sidestream.api.kafka import Coordination
from sidestream_demo.errors import DemoError

ACTIVATIONS = 20
WORK_SECONDS = 0.01
WARM_UP_SECONDS = 5.0
PAUSE_SECONDS = 2.0
"""Between activations, so that there is a time before each to compare with."""
RECORDS = 40_000
"""More than can be handled meanwhile."""
UNPACED = 1e6


@dataclass(frozen=True)
class Load:
    """`windows` are the activations, each from the KafkaRoute's creation until it was Active."""

    windows: tuple[Window, ...]
    ratio: float

    @property
    def activations(self) -> list[float]:
        """Seconds of each."""
        return [active - made for made, active in self.windows]


def run(place: Place, coordination: Coordination, console: Console) -> Load:
    """Activate one fork after the other, and take all of them away."""
    console.print(f"Trial load: {ACTIVATIONS} activations under {coordination} (about 90 s) ...")
    with scene(place, "load", coordination, work=WORK_SECONDS) as stage:
        with producing(place.kafka.bootstrap, stage.workload, RECORDS, UNPACED) as producer:
            if producer.wait() != 0:
                raise DemoError("The topic could not be filled; the reason is above.")
        stage.start_baseline()
        time.sleep(WARM_UP_SECONDS)
        forks = [stage.fork(f"tenant-{number:02}", 0) for number in range(ACTIVATIONS)]
        try:
            windows = tuple(_activate(fork) for fork in forks)
        finally:
            for fork in forks:
                fork.discard()
        stage.crew.stop_all()
        handled = tuple(stage.handled())
        left = verdict(handled, stage.ends()).lost
    if len({place.partition for place in left}) < PARTITIONS:
        raise DemoError("The baseline had handled all of a partition before the last activation.")
    return Load(windows, throughput_ratio(sorted(item.moment for item in handled), windows))


def _activate(fork: Fork) -> Window:
    time.sleep(PAUSE_SECONDS)
    return fork.activate()
