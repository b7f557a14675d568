"""Activations while the baseline works at its limit: how long each takes, and what it takes from the throughput.

More records are written than can be handled, so that the members are always busy, and a pause that they make cannot be
caught up with. Handling a record takes a while, most of which they wait, as for a database: what operator and API
server take of the processor counts too where they share a machine with the members. Each activation is of another
tenant; its fork has no members, as it has nothing to handle before the baseline comes to its first record.
"""

import statistics
import time
from dataclasses import dataclass

from rich.console import Console

from bench.handoff.forks import Fork
from bench.handoff.place import Place
from bench.handoff.producer import producing
from bench.handoff.scene import Scene, scene
from bench.handoff.verdict import Window, throughput_ratio
from sidestream.api.kafka import Coordination
from sidestream_demo.errors import DemoError

ACTIVATIONS = 20
WORK_SECONDS = 0.01
WARM_UP_SECONDS = 5.0
PAUSE_SECONDS = 2.0
"""Between activations, so that there is a time before each to compare with."""
RATE = 500.0
"""Over twice of what the members can handle."""
RECORDS = 100_000
"""More than can be written meanwhile: a fetch that waits for records holds up what else is asked of its broker."""


@dataclass(frozen=True)
class Load:
    """`windows` are the activations, each from the KafkaRoute's creation until it was Active.

    `ratio` is the throughput within them beside that before each.
    """

    windows: tuple[Window, ...]
    ratio: float
    crashes: int

    @property
    def activations(self) -> list[float]:
        """Seconds of each."""
        return [active - made for made, active in self.windows]

    @property
    def pause(self) -> float:
        """Seconds of an activation, on average, in which the baseline as a whole could have handled what it did not."""
        return (1 - self.ratio) * statistics.mean(self.activations)


def run(place: Place, coordination: Coordination, console: Console) -> Load:
    """Activate one fork after the other, and take all of them away."""
    console.print(f"Trial load: {ACTIVATIONS} activations under {coordination} (about 90 s) ...")
    with scene(place, "load", coordination, work=WORK_SECONDS) as stage:
        with producing(place.kafka.bootstrap, stage.workload, RECORDS, RATE) as producer:
            stage.start_baseline()
            time.sleep(WARM_UP_SECONDS)
            windows = _activate_all(stage)
            if producer.poll() is not None:
                raise DemoError("The producer ended before the last activation; the reason may be above.")
        stage.crew.stop_all()
        moments = sorted(item.moment for item in stage.handled())
    return Load(windows, throughput_ratio(moments, windows), stage.crew.crashes)


def _activate_all(stage: Scene) -> tuple[Window, ...]:
    forks = [stage.fork(f"tenant-{number:02}", 0) for number in range(ACTIVATIONS)]
    try:
        return tuple(_activate(fork) for fork in forks)
    finally:
        for fork in forks:
            fork.discard()


def _activate(fork: Fork) -> Window:
    time.sleep(PAUSE_SECONDS)
    return fork.activate()
