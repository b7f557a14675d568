"""The lab's commands: `hack/lab up|down|status|env|logs`, and `hack/lab image` of the registry module."""

import os
import shlex
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from sidestream_lab import registry, up
from sidestream_lab.errors import LabError
from sidestream_lab.paths import Layout, World
from sidestream_lab.progress import duration
from sidestream_lab.shell import Toolbox
from sidestream_lab.steps import Step

app = typer.Typer(
    name="hack/lab",
    help="A real Kubernetes cluster, Istio and Apache Kafka on this machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(registry.app, name="image")

IMAGES_FROM = {World.USER: "pulled", World.OWN: "built"}
NOT_UP = 3
"""Exit code of `status` when something is not up, as init scripts have it."""


@app.command(name="up")
def up_command(
    only: Annotated[str | None, typer.Option(help="Stop after this step, as in --only cluster.")] = None,
) -> None:
    """Bring up what is not up yet. First time 10-20 min where nothing can be pulled; then about a minute."""
    console = Console(stderr=True, highlight=False)
    begin = time.monotonic()
    tools = up.bring_up(Layout.from_environment(), console, only)
    took = duration(time.monotonic() - begin)
    if only is not None:
        console.print(f"{only} is done ({took}).")
        return
    console.print(f'The lab is up ({took}). For a shell: eval "$(hack/lab env)"')
    console.print(f"  cluster   {tools.layout.kubeconfig}")
    console.print(f"  Kafka     {tools.layout.kafka_bootstrap}")


@app.command()
def down(
    *,
    purge: Annotated[bool, typer.Option("--purge", help="Remove what was built or pulled, too.")] = False,
) -> None:
    """Stop the lab and leave nothing behind but what was built."""
    console = Console(stderr=True, highlight=False)
    begin = time.monotonic()
    up.bring_down(Layout.from_environment(), console.print, purge=purge)
    console.print(f"The lab is down ({duration(time.monotonic() - begin)}).")


@app.command()
def status() -> None:
    """Show what is up; exit code 0 when all is, 3 when not."""
    layout = Layout.from_environment()
    tools = up.tools_of(layout)
    console = Console(highlight=False)
    if tools is None:
        console.print("The lab is down. `hack/lab up` starts it.")
        raise typer.Exit(NOT_UP)
    steps = up.all_steps(tools)
    done = _done(steps)
    console.print(_overview(tools, done))
    if missing := [step.name for step in steps if step.name not in done]:
        console.print(f"\nTo do: {', '.join(missing)}. `hack/lab up` goes on; logs are in {layout.logs}")
        raise typer.Exit(NOT_UP)


@app.command()
def env() -> None:
    """Print what a shell needs to use the lab: eval "$(hack/lab env)"."""
    tools = _running_lab()
    layout = tools.layout
    values = {"KUBECONFIG": str(layout.kubeconfig), "KAFKA_BOOTSTRAP": layout.kafka_bootstrap}
    if tools.world is World.OWN:
        values |= {"DOCKER_HOST": layout.docker_host, "DOCKER_CONFIG": str(layout.docker_client_config)}
    for name, value in values.items():
        print(f"export {name}={shlex.quote(value)}")
    if str(layout.bin) not in os.environ.get("PATH", "").split(os.pathsep):
        print(f'export PATH={shlex.quote(str(layout.bin))}:"$PATH"')


@app.command()
def logs(step: Annotated[str | None, typer.Argument(help="Which step's log to print.")] = None) -> None:
    """List the logs of the steps, or print one."""
    layout = Layout.from_environment()
    if step is None:
        for log in sorted(layout.logs.glob("*.log"), key=lambda log: log.stat().st_mtime):
            print(f"{log.stem:24} {log}")
    elif layout.log(step).is_file():
        print(layout.log(step).read_text(errors="replace"), end="")
    else:
        raise LabError(f"There is no log of {step!r}", "Run `hack/lab logs` for those that are there.")


def _running_lab() -> Toolbox:
    tools = up.tools_of(Layout.from_environment())
    if tools is None or not tools.layout.kubeconfig.is_file():
        raise LabError("The lab is down", "Run `hack/lab up` first.")
    return tools


def _done(steps: Sequence[Step]) -> set[str]:
    """Names of the steps that are done; one that stands on something that is not is not asked."""
    done: set[str] = set()
    for step in steps:
        with suppress(LabError):
            if done.issuperset(step.needs) and step.is_done():
                done.add(step.name)
    return done


def _overview(tools: Toolbox, done: set[str]) -> Table:
    layout = tools.layout
    engine = f"your Docker engine, images {IMAGES_FROM[tools.world]}"
    if tools.world is World.OWN:
        engine = f"the lab's own at {layout.docker_host}, images {IMAGES_FROM[tools.world]}"
    table = Table("part", "state", "where", box=None, header_style="bold", pad_edge=False)
    for part, where in {
        "engine": engine,
        "cluster": f"Kubernetes by kind, kubeconfig {layout.kubeconfig}",
        "istio": "istiod in namespace istio-system; label a namespace istio-injection=enabled",
        "kafka": f"{layout.kafka_bootstrap} on this machine, kafka.kafka:9092 in the cluster",
    }.items():
        table.add_row(part, "[green]up[/]" if part in done else "[red]down[/]", where)
    return table
