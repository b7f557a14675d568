"""One trial: records are written, the baseline and two forks share them, and in the end each is accounted for."""

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from rich.console import Console

from bench.handoff.crew import Crew, kill_on_and_on
from bench.handoff.forks import Life
from bench.handoff.place import Place
from bench.handoff.producer import producing
from bench.handoff.records import FORKED
from bench.handoff.scene import Scene, scene
from bench.handoff.verdict import Verdict, verdict
from sidestream.api.kafka import Coordination
from sidestream_demo.errors import DemoError

FORK_MEMBERS = dict(zip(FORKED, (1, 2), strict=True))


@dataclass(frozen=True)
class Trial:
    """What is tried: so many records at so many a second.

    For `calm` seconds no member is killed (None: for ever). `lag` makes members read the mapping only so often.
    """

    name: str
    records: int
    rate: float
    coordination: Coordination
    seed: int
    calm: float | None = None
    lag: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """What came of it; `calm_lives` are those that ended before anybody was killed."""

    verdict: Verdict
    calm_lives: tuple[Life, ...]
    killing_lives: tuple[Life, ...]
    kills: int
    crashes: int


def run(place: Place, trial: Trial, console: Console) -> Outcome:
    """Go through with it, and take away what it needed in the cluster and in Kafka."""
    console.print(
        f"Trial {trial.name}: {trial.records} records at {trial.rate:.0f}/s under {trial.coordination}, "
        f"seed {trial.seed} (about {trial.records / trial.rate:.0f} s) ..."
    )
    with scene(place, trial.name, trial.coordination, lag=trial.lag) as stage:
        stage.start_baseline()
        calm_until = time.monotonic() + (threading.TIMEOUT_MAX if trial.calm is None else trial.calm)
        lives = _live_through(stage, trial, calm_until)
        stage.wait_until_caught_up()
        stage.crew.stop_all()
        found = verdict(stage.handled(), stage.ends())
    calm = tuple(life for life in lives if life.gone < calm_until)
    killing = tuple(life for life in lives if life.gone >= calm_until)
    return Outcome(found, calm, killing, stage.crew.kills, stage.crew.crashes)


def _live_through(stage: Scene, trial: Trial, calm_until: float) -> list[Life]:
    """Let forks come and go, and kill members from some moment on, until all records are written."""
    done = threading.Event()
    bootstrap = stage.place.kafka.bootstrap
    with (
        ThreadPoolExecutor(len(FORK_MEMBERS) + 1) as pool,
        producing(bootstrap, stage.workload, trial.records, trial.rate) as producer,
    ):
        forks: list[Future[list[Life]]] = []
        try:
            for number, (tenant, members) in enumerate(FORK_MEMBERS.items()):
                forks.append(pool.submit(stage.fork(tenant, members).come_and_go, trial.seed + number, done))
            killing = pool.submit(_kill_from, calm_until, stage.crew, trial.seed, done)
            while producer.poll() is None and not killing.done() and not any(fork.done() for fork in forks):
                time.sleep(0.2)
        finally:
            done.set()
        killing.result()
        lives = [life for fork in forks for life in fork.result()]
        if producer.wait() != 0:
            raise DemoError("Not all records could be written; the reason is above.")
    return lives


def _kill_from(moment: float, members: Crew, seed: int, until: threading.Event) -> None:
    if not until.wait(moment - time.monotonic()):
        kill_on_and_on(members, seed, until)
