"""Steps: what has to be made before the lab is up, in which order, and the runner that makes what is missing.

A step tells by looking whether it is done, so that a run which was cut off goes on where it stopped. Steps that do not
wait for each other run at the same time, so the long Go builds go on in the background.

The modules of the lab offer `steps(tools: Toolbox) -> Sequence[Step]`; `sidestream_lab.up` joins them. Names to
wait for:
`engine`, `build-kube`, `build-kind`, `build-coredns`, `build-helm`, `build-istiod`, `node-image`, `cluster`.
"""

import hashlib
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Protocol

from sidestream_lab.progress import Progress
from sidestream_lab.shell import stop_all


class Step(Protocol):
    """One thing that the lab needs."""

    @property
    def name(self) -> str:
        """Unique, in lower case with dashes; also the name of its log."""

    @property
    def why(self) -> str:
        """What is made and what for, as the user reads it: "Kubernetes' programs, for the node image"."""

    @property
    def seconds(self) -> float:
        """How long it typically takes on two cores when it is not done."""

    @property
    def needs(self) -> Sequence[str]:
        """Names of the steps that have to be done first; a name that is not in this run is an error."""

    def is_done(self) -> bool:
        """Whether there is nothing to do: by a quick look (0.3 s) at the real thing, when all that it needs is done."""

    def run(self) -> None:
        """Make it, over whatever an earlier attempt has left."""


@dataclass(frozen=True)
class Task:
    """A step made of plain functions."""

    name: str
    why: str
    seconds: float
    run: Callable[[], None]
    is_done: Callable[[], bool]
    needs: Sequence[str] = ()


def digest(*inputs: str | bytes | Path) -> str:
    """Twelve characters that change with any input: a text, the content of a file, or of all files below a folder."""
    total = hashlib.sha256()
    for item in inputs:
        for label, content in _contents(item):
            total.update(hashlib.sha256(label.encode()).digest())
            total.update(hashlib.sha256(content).digest())
    return total.hexdigest()[:12]


def _contents(item: str | bytes | Path) -> Iterable[tuple[str, bytes]]:
    match item:
        case str():
            yield "", item.encode()
        case bytes():
            yield "", item
        case Path() if item.is_dir():
            for file in sorted(path for path in item.rglob("*") if path.is_file()):
                yield str(file.relative_to(item)), file.read_bytes()
        case Path():
            yield item.name, item.read_bytes()


@dataclass(frozen=True)
class Stamp:
    """A record that something was made from inputs with this digest; for results that cannot carry it themselves."""

    file: Path
    digest: str

    def is_set(self) -> bool:
        """Whether the record is there and of the same inputs."""
        return self.file.is_file() and self.file.read_text() == self.digest

    def set(self) -> None:
        """Write the record; the last act of a step."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(self.digest)


def run_steps(steps: Sequence[Step], progress: Progress, log: Callable[[str], Path]) -> None:
    """Bring every step to done, each as soon as those that it needs are.

    `log` names the log of a step, which begins anew with each attempt. The first failure stops the other steps and is
    raised.
    """
    _refuse_impossible(steps)
    waiting = {step.name: step for step in steps}
    done: set[str] = set()
    ended: SimpleQueue[tuple[str, BaseException | None]] = SimpleQueue()

    def work(step: Step) -> None:
        try:
            _bring_to_done(step, progress, log(step.name))
        except BaseException as failure:  # noqa: BLE001 - whatever it is, the thread that waits for it raises it
            ended.put((step.name, failure))
        else:
            ended.put((step.name, None))

    while len(done) < len(steps):
        for step in [step for step in waiting.values() if done.issuperset(step.needs)]:
            del waiting[step.name]
            # A daemon, so that an interrupted lab need not wait for steps that wait for something themselves.
            threading.Thread(target=work, args=(step,), name=step.name, daemon=True).start()
        name, failure = ended.get()
        if failure is not None:
            stop_all()
            raise failure
        done.add(name)


def _bring_to_done(step: Step, progress: Progress, log: Path) -> None:
    if step.is_done():
        return
    log.unlink(missing_ok=True)
    progress.started(step.name, step.why, step.seconds)
    begin = time.monotonic()
    try:
        step.run()
    except BaseException:
        progress.failed(step.name, time.monotonic() - begin)
        raise
    progress.ended(step.name, time.monotonic() - begin)


def _refuse_impossible(steps: Sequence[Step]) -> None:
    """A step that needs an unknown name or, in a ring, itself would wait for ever."""
    reached: set[str] = set()
    while found := {step.name for step in steps if reached.issuperset(step.needs)} - reached:
        reached |= found
    if stuck := sorted({step.name for step in steps} - reached):
        raise ValueError(f"these steps can never start: {', '.join(stuck)}")
