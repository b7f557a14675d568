"""Bringing the lab up and down: joins the steps of all modules, and keeps two runs from meeting."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console

from sidestream_lab import (
    cluster,
    engine,
    gobuild,
    images,
    istio,
    kafka,
    leftovers,
    nodeimage,
    preflight,
    registry,
    traefik,
)
from sidestream_lab.errors import LabError
from sidestream_lab.paths import Layout, World
from sidestream_lab.progress import progress_for
from sidestream_lab.shell import Toolbox
from sidestream_lab.steps import Step, run_steps

PACKAGES = (*engine.PACKAGES, *nodeimage.PACKAGES, *images.PACKAGES)
OWN_IMAGES = ("sidestream-lab/*", "sidestream/*")


def all_steps(tools: Toolbox) -> list[Step]:
    """Every step of the lab."""
    modules = (engine, gobuild, nodeimage, cluster, images, registry, istio, kafka)
    return [step for module in modules for step in module.steps(tools)]


def extra_steps(tools: Toolbox) -> list[Step]:
    """Steps that are taken only where a goal asks for them; they may need any of the others."""
    return list(traefik.steps(tools))


def up_to(steps: Sequence[Step], goal: str) -> list[Step]:
    """The step `goal` and all that it needs, in the order of `steps`."""
    by_name = {step.name: step for step in steps}
    if goal not in by_name:
        raise LabError(f"There is no step {goal!r}", f"Name one of: {', '.join(by_name)}.")
    wanted, reached = [goal], set[str]()
    while wanted:
        name = wanted.pop()
        reached.add(name)
        wanted += [need for need in by_name[name].needs if need not in reached]
    return [step for step in steps if step.name in reached]


def bring_up(layout: Layout, console: Console, goal: str | None = None) -> Toolbox:
    """Make all that is missing, or what the step `goal` takes; returns the tools of the lab that is up."""
    with exclusive(layout, console.print):
        world = engine.decide(layout)
        tools = Toolbox(layout, world)
        steps = all_steps(tools)
        if goal is not None:
            steps = up_to([*steps, *extra_steps(tools)], goal)
        _prepare(tools, steps, console.print)
        engine.record(layout, world)
        with progress_for(console, layout.log) as progress:
            run_steps(steps, progress, layout.log)
    return tools


def bring_down(layout: Layout, say: Callable[[str], None], *, purge: bool = False) -> None:
    """Stop and remove everything that runs; with `purge`, what was built as well."""
    with exclusive(layout, say):
        tools = tools_of(layout)
        if tools is not None and engine.is_running(tools):
            cluster.delete(tools)
            if purge:
                _remove_images(tools)
        engine.stop(tools or Toolbox(layout, World.OWN))
        layout.kubeconfig.unlink(missing_ok=True)
    if purge:
        for folder in (layout.cache, layout.state):
            shutil.rmtree(folder, ignore_errors=True)


def tools_of(layout: Layout) -> Toolbox | None:
    """The tools of the lab that is up, or was when it was killed; None when there is no sign of one."""
    world = engine.recorded(layout)
    if world is None and leftovers.engine_processes(layout):
        world = World.OWN
    return None if world is None else Toolbox(layout, world)


@contextmanager
def exclusive(layout: Layout, say: Callable[[str], None]) -> Iterator[None]:
    """Let one run at a time change the lab; the next one waits."""
    layout.state.parent.mkdir(parents=True, exist_ok=True)
    # Beside the folder, because `down --purge` removes that.
    lock = os.open(layout.state.with_suffix(".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another hack/lab is at work; waiting for it to end ...")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _prepare(tools: Toolbox, steps: Sequence[Step], say: Callable[[str], None]) -> None:
    layout, world = tools.layout, tools.world
    built = all(step.is_done() for step in steps if step.name.startswith("build-"))
    machine = preflight.Machine.this(layout, gobuild.go_version())
    preflight.check(world, machine, built=built)
    preflight.install(preflight.missing(PACKAGES, world), machine, layout.log("packages"), say)
    if not engine.is_running(tools):
        say(_introduction(world))


def _introduction(world: World) -> str:
    match world:
        case World.USER:
            return f"Using your Docker engine and pulling images. ({engine.CHOICE}=own builds everything instead.)"
        case World.OWN:
            return (
                "No Docker engine here reaches image registries: the lab starts one of its own and builds its images "
                f"from source and from Debian's packages. ({engine.CHOICE}=user insists on yours.)"
            )


def _remove_images(tools: Toolbox) -> None:
    """In the user's engine only the lab's images are the lab's to remove; its own engine's data goes as a whole."""
    if tools.world is World.USER:
        for pattern in OWN_IMAGES:
            if found := tools.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", pattern).split():
                tools.docker("image", "rm", "--force", *found)
