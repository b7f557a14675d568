"""`hack/bench [NAME ...]`: runs the benchmarks named, or all, and exits with 1 when one misses its limits."""

import logging
import sys
from collections.abc import Callable
from functools import partial
from typing import Annotated

import structlog
import typer
from rich.console import Console
from rich.markup import escape

from bench import brokers, mapping, ready, sdk
from bench.handoff import measure as handoff
from bench.report import Report, publish
from bench.routing import measure as routing
from sidestream.api.kafka import Coordination
from sidestream_demo.environment import Environment
from sidestream_demo.errors import DemoError

Benchmark = Callable[[Environment, Console], Report]

BENCHMARKS: dict[str, Benchmark] = {
    "ready": ready.measure,
    "sdk": sdk.measure,
    "mapping": mapping.measure,
    "brokers": brokers.measure,
    "handoff": handoff.measure,
    "routing": routing.measure,
}

_FILE_WIDTH = 120

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def bench(
    names: Annotated[
        list[str] | None, typer.Argument(help=f"Which: {', '.join(BENCHMARKS)}; all when left out.")
    ] = None,
    *,
    records: Annotated[int, typer.Option(help="handoff: how many records.")] = handoff.Options.records,
    coordination: Annotated[
        Coordination, typer.Option(help="handoff: how consumers agree.")
    ] = handoff.Options.coordination,
    seed: Annotated[int | None, typer.Option(help="handoff: what decides who is killed when.")] = None,
    tenants: Annotated[int, typer.Option(help="routing: how many tenants of one Service.")] = routing.Options.tenants,
    requests: Annotated[int, typer.Option(help="routing: how many to each host.")] = routing.Options.requests,
    sandboxes: Annotated[int, typer.Option(help="routing: how many come and go.")] = routing.Options.sandboxes,
) -> None:
    """Measure on the cluster of KUBECONFIG and KAFKA_BOOTSTRAP."""
    if unknown := sorted(set(names or ()) - set(BENCHMARKS)):
        raise typer.BadParameter(f"there is no benchmark {', '.join(unknown)}; there are: {', '.join(BENCHMARKS)}")
    # in a file the table need not be as narrow as a terminal of old
    console = Console(width=None if sys.stdout.isatty() else _FILE_WIDTH)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    environment = Environment.from_variables()
    options = handoff.Options(records, coordination, seed)
    runs: dict[str, Benchmark] = {
        **BENCHMARKS,
        "handoff": partial(handoff.measure, options=options),
        "routing": partial(routing.measure, options=routing.Options(tenants, requests, sandboxes)),
    }
    reports = [publish(runs[name](environment, console), console) for name in names or BENCHMARKS]
    if not all(report.holds for report in reports):
        raise typer.Exit(1)


def main() -> None:
    """Run the command line; what went wrong is told in a sentence."""
    try:
        app()
    except DemoError as error:
        Console(stderr=True).print(f"[bold red]The benchmark cannot go on:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
