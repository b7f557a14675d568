"""`hack/demo`: shows one tenant's request take its own way; exits with 1 when a promise is broken."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from sidestream.kube.port import SANDBOXES
from sidestream_demo import shop as place
from sidestream_demo.cluster import Cluster
from sidestream_demo.environment import Environment, program
from sidestream_demo.errors import BrokenPromiseError, DemoError
from sidestream_demo.kafka import Kafka
from sidestream_demo.release import NAMESPACE, Release
from sidestream_demo.screen import Screen
from sidestream_demo.shop import Shop
from sidestream_demo.story import Story
from sidestream_demo.traffic import headers_of

INTERRUPTED = 130

app = typer.Typer(add_completion=False, invoke_without_command=True, pretty_exceptions_enable=False)


@app.callback()
def demo(
    context: typer.Context,
    keep: Annotated[bool, typer.Option(envvar="KEEP", help="Leave everything running and say what to try.")] = False,  # noqa: FBT002 - typer's way
) -> None:
    """Deploy the shop, fork two of its services for a tenant, show who answers whose requests, and clean up."""
    if context.invoked_subcommand is not None:
        return
    screen = Screen(Console())
    environment = Environment.from_variables()
    with environment.cluster() as cluster:
        screen.title("Sidestream and the shop come into the cluster")
        shop, release = _built(environment, cluster, screen)
        was_installed = release.is_installed()
        try:
            _install(shop, release, screen)
            Story(shop, screen).tell(keep=keep)
        except KeyboardInterrupt:
            screen.say("\nInterrupted: taking away what the demo made. Press Ctrl-C again to leave it.")
            _clean(shop, release, screen, uninstall=not was_installed)
            raise typer.Exit(INTERRUPTED) from None
        if not keep:
            _clean(shop, release, screen, uninstall=not was_installed)
            screen.say("\n[bold green]Every hop and every record was as promised, and nothing is left.[/]")
            if environment.is_lab:
                screen.say("The lab still runs: `make demo KEEP=1` to play with it, `make lab-down` to stop it.")


@app.command()
def produce(
    tenant: Annotated[str, typer.Option(help="Whose record it is; nobody's when left out.")] = "",
    order: Annotated[str, typer.Option(help="The order's name.")] = "by-hand",
) -> None:
    """Write a record straight into the shop's topic, past storefront and orders."""
    environment = Environment.from_variables()
    Kafka(environment.kafka_bootstrap).produce(
        place.TOPIC, {"order": order, "item": "pen", "quantity": 1}, headers_of(tenant or None)
    )
    print(f"Written to {place.TOPIC}: {order}{f' of {tenant}' if tenant else ''}.")


@app.command()
def fences() -> None:
    """Show from which record on the tenant's are the fork's, after a demo with KEEP=1."""
    with _kept() as (shop, screen):
        _require_sandbox(shop)
        Story(shop, screen).show_fences()


@app.command()
def delete() -> None:
    """Delete the Sandbox amid orders and count who handled them, after a demo with KEEP=1."""
    with _kept() as (shop, screen):
        _require_sandbox(shop)
        Story(shop, screen).delete()


@app.command()
def clean() -> None:
    """Take the shop and Sidestream away, after a demo with KEEP=1 or one that failed."""
    with _kept() as (shop, screen):
        _clean(shop, Release(shop.cluster, program("helm"), ""), screen, uninstall=True)


@contextmanager
def _kept() -> Iterator[tuple[Shop, Screen]]:
    """The shop as an earlier demo left it."""
    environment = Environment.from_variables()
    with environment.cluster() as cluster:
        kafka = Kafka(environment.kafka_bootstrap)
        yield Shop(cluster, kafka, "", environment.kafka_inside(cluster)), Screen(Console())


def _require_sandbox(shop: Shop) -> None:
    if shop.cluster.get(SANDBOXES, place.NAMESPACE, place.SANDBOX) is None:
        raise DemoError(f"There is no Sandbox {place.SANDBOX}: `make demo KEEP=1` makes it.")


def _built(environment: Environment, cluster: Cluster, screen: Screen) -> tuple[Shop, Release]:
    """Shop and release with images that the cluster has."""
    with screen.step("The images of Sidestream and the shop are built and loaded", "1 min, 2 s when nothing changed"):
        images = environment.images()
    kafka = Kafka(environment.kafka_bootstrap)
    shop = Shop(cluster, kafka, images["shop"], environment.kafka_inside(cluster))
    return shop, Release(cluster, program("helm"), images["operator"])


def _install(shop: Shop, release: Release, screen: Screen) -> None:
    screen.command(f"helm upgrade --install sidestream charts/sidestream --namespace {NAMESPACE}")
    with screen.step("Sidestream is installed", "15 s"):
        release.install()
    screen.command(f"kubectl apply -k {place.MANIFESTS}")
    with screen.step("The shop is deployed", "15 s"):
        shop.remove_sandbox()
        shop.deploy()


def _clean(shop: Shop, release: Release, screen: Screen, *, uninstall: bool) -> None:
    screen.title("Cleaning up")
    with screen.step("The shop is taken away", "5 s"):
        shop.remove()
    if uninstall:
        with screen.step("Sidestream is uninstalled", "5 s"):
            release.uninstall()


@contextmanager
def _told_plainly() -> Iterator[None]:
    """Turn what went wrong into a message and an exit code, without a stack trace."""
    console = Console(stderr=True)
    try:
        yield
    except BrokenPromiseError as broken:
        console.print(f"\n[bold red]Broken promise:[/] {escape(str(broken))}", soft_wrap=True, highlight=False)
        console.print(
            "Everything is left as it is for you to look at:\n"
            f'  eval "$(hack/lab env)"\n  kubectl -n {place.NAMESPACE} describe sandboxes,kafkaroutes\n'
            f"  kubectl -n {NAMESPACE} logs deployment/sidestream-operator --all-pods\n"
            "`hack/demo clean` takes it away; `make demo` starts anew.",
            soft_wrap=True,
            highlight=False,
        )
        sys.exit(1)
    except DemoError as error:
        console.print(f"\n[bold red]The demo cannot go on:[/] {escape(str(error))}", soft_wrap=True, highlight=False)
        sys.exit(1)


def main() -> None:
    """Run the command line; a termination signal is like Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with _told_plainly():
        app()


if __name__ == "__main__":
    main()
