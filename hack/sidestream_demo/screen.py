"""What a person sees of the demo: steps, commands, conditions as they change, one line a request."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sidestream.kube.port import Object
from sidestream_demo.accounts import Account
from sidestream_demo.fences import Fence
from sidestream_demo.kafka import Group
from sidestream_demo.traffic import BASELINE, HTTP_HOPS, Trip

CONDITIONS = ("Accepted", "WorkloadsReady", "KafkaReady", "RoutesReady", "Ready")
_WORDS = {"tenant", "topic", "state", "orders of"}
_STATUS_STYLE = {"True": "green", "False": "yellow", "Unknown": "yellow"}


class Screen:
    """Writes to a console; lines are never wrapped, so that they can be copied."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def say(self, markup: str = "") -> None:
        """One line of rich markup."""
        self.console.print(markup, soft_wrap=True, highlight=False)

    def title(self, text: str) -> None:
        """The headline of a chapter."""
        self.say()
        self.say(f"[bold]{escape(text)}[/]")

    def command(self, text: str) -> None:
        """A command that a user would type here."""
        self.say(f"  [dim]$[/] [cyan]{escape(text)}[/]")

    @contextmanager
    def step(self, text: str, typical: str) -> Iterator[None]:
        """Something that takes a while: what it is and for about how long, then how long it took."""
        begin = time.monotonic()
        with self.console.status(f"{escape(text)} [dim](about {typical})[/]"):
            if not self.console.is_terminal:
                self.say(f"  {escape(text)} (about {typical}) ...")
            yield
        self.say(f"  [green]done[/] {escape(text)} [dim]in {time.monotonic() - begin:.1f} s[/]")

    def trip(self, trip: Trip) -> None:
        """One request: whose it was and who handled it."""
        parts = [
            hop.service if hop.version == BASELINE else f"[bold green]{hop.service}({escape(hop.version)})[/]"
            for hop in trip.hops
        ]
        parts.insert(len(HTTP_HOPS), "[blue]Kafka[/]")
        tenant = f"tenant={trip.tenant}" if trip.tenant else "no tenant"
        self.say(f"  {tenant:<14} {' -> '.join(parts)}  [dim]{trip.seconds:.1f} s[/]")

    def conditions(self, elapsed: float, before: Object | None, after: Object | None) -> None:
        """The conditions of a Sandbox that differ between two states of it, a line each."""
        old = _conditions(before)
        for name, new in _conditions(after).items():
            if _key(old.get(name)) != _key(new):
                style = _STATUS_STYLE[new["status"]]
                told = f"[dim]{escape(new.get('message', ''))}[/]"
                self.say(f"  {elapsed:5.1f} s  {name:<15} [{style}]{new['status']:<8}[/]{new['reason']:<20} {told}")

    def group(self, group: Group) -> None:
        """A consumer group with its offsets."""
        rows = [(item.topic, item.partition, item.committed, item.end) for item in group.positions]
        self.say(f"  group [bold]{escape(group.name)}[/]: {group.state}, {group.members} member(s)")
        self._table(("topic", "partition", "next record", "end"), rows)

    def fences(self, fences: Iterable[Fence]) -> None:
        """Which records are the fork's: from the first offset up to before the last."""
        rows = [
            (item.tenant, item.topic, item.partition, item.state, item.begin, item.hold, item.until) for item in fences
        ]
        self._table(("tenant", "topic", "partition", "state", "from", "hold", "until"), rows)

    def accounts(self, accounts: Iterable[Account]) -> None:
        """Who handled how many orders of each tenant."""
        rows = [
            (item.tenant, item.produced, item.by_fork, item.by_baseline, item.by_both, item.by_nobody)
            for item in accounts
        ]
        self._table(("orders of", "produced", "by fork", "by baseline", "by both", "by nobody"), rows)

    def _table(self, columns: Sequence[str], rows: Iterable[Sequence[str | int | None]]) -> None:
        """Numbers to the right, words to the left, what is not known as a dash."""
        table = Table(box=None, padding=(0, 2), header_style="dim")
        for column in columns:
            table.add_column(column, justify="left" if column in _WORDS else "right")
        for row in rows:
            table.add_row(*("-" if cell is None else escape(str(cell)) for cell in row))
        self.console.print(table)


def _conditions(sandbox: Object | None) -> dict[str, Object]:
    found = ((sandbox or {}).get("status") or {}).get("conditions") or []
    by_type = {item["type"]: item for item in found}
    return {name: by_type[name] for name in CONDITIONS if name in by_type}


def _key(condition: Object | None) -> tuple[str, str, str] | None:
    return (condition["status"], condition["reason"], condition.get("message", "")) if condition else None
