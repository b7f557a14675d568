"""Whether a record is lost or handled by two versions while forks come and go, and how long each change takes.

Three trials on a topic of three partitions, with two members of the baseline:

- load: one fork after the other is activated while the baseline works at its limit;
- kills: forks of two tenants come and go; after a calm time members are killed at random moments. Nothing may be lost,
  handled by two versions, or out of order within one;
- control: the same without kills, but members decide by a mapping that they read every five seconds, whatever the
  KafkaConsumer promises. Faults must be found, or this benchmark could not see any.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console

from bench.handoff import load
from bench.handoff.forks import Life
from bench.handoff.place import sidestream_at_work
from bench.handoff.scene import BASELINE_MEMBERS, PARTITIONS, POLL_INTERVAL
from bench.handoff.trial import FORK_MEMBERS, Outcome, Trial, run
from bench.handoff.verdict import percentile
from bench.report import Figure, Report, conditions, versions
from bench.sdk import client_versions
from sidestream.api.kafka import Coordination
from sidestream_demo.environment import Environment

RATE = 500.0
CALM_SHARE = 0.3
"""Of the first trial, before anybody is killed."""
CONTROL_RECORDS = 20_000
CONTROL_LAG_SECONDS = 5.0
ACTIVATION_P50_LIMIT = 1.0
ACTIVATION_P99_LIMIT = 3.0
TEARDOWN_LIMIT = 3.0
THROUGHPUT_LIMIT = 0.98
SHOWN = 5


@dataclass(frozen=True)
class Options:
    """How large the benchmark is; the same seed kills the same members after the same pauses."""

    records: int = 100_000
    coordination: Coordination = "Fenced"
    seed: int | None = None


def measure(environment: Environment, console: Console, options: Options = Options()) -> Report:
    """Go through all trials, and leave cluster and Kafka as they were."""
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1_000_000)
    kills = Trial("kills", options.records, RATE, options.coordination, seed, CALM_SHARE * options.records / RATE)
    control = Trial("control", min(options.records, CONTROL_RECORDS), RATE, "Polling", seed, lag=CONTROL_LAG_SECONDS)
    with environment.cluster() as cluster:
        about = {**versions(cluster), **client_versions()}
        around = conditions(cluster, environment)
        with sidestream_at_work(environment, cluster) as place:
            loaded = load.run(place, options.coordination, console)
            outcomes = [run(place, trial, console) for trial in (kills, control)]
    for trial, outcome in zip((kills, control), outcomes, strict=True):
        _tell(trial, outcome, console)
    around |= {
        "coordination": options.coordination,
        "seed": seed,
        "records/s": RATE,
        "partitions": PARTITIONS,
        "baseline members": BASELINE_MEMBERS,
        "fork members": ", ".join(f"{tenant} {members}" for tenant, members in FORK_MEMBERS.items()),
        "poll interval": POLL_INTERVAL,
    }
    return Report("handoff", _figures(loaded, *outcomes), about, around)


def _figures(loaded: load.Load, kills: Outcome, control: Outcome) -> dict[str, Figure]:
    found, seen = kills.verdict, control.verdict
    return {
        "records": Figure(found.records, ""),
        "lost": Figure(len(found.lost), "handled by no version", 0),
        "double": Figure(len(found.double), "handled by two versions", 0),
        "misplaced": Figure(len(found.misplaced), "handled by another tenant's fork", 0),
        "reordered": Figure(len(found.reordered), "after a later one of their key", 0),
        "control_faults": Figure(seen.faults, "with members that poll", at_least=1),
        "control_lost": Figure(len(seen.lost), "with members that poll", at_least=1),
        "control_double": Figure(len(seen.double), "with members that poll"),
        "control_records": Figure(seen.records, ""),
        "activation_p50_s": _seconds(loaded.activations, 50, ACTIVATION_P50_LIMIT),
        "activation_p99_s": _seconds(loaded.activations, 99, ACTIVATION_P99_LIMIT),
        "activations": Figure(len(loaded.activations), ""),
        "throughput_ratio": Figure(round(loaded.ratio, 3), "of that before", at_least=THROUGHPUT_LIMIT),
        "pause_ms": Figure(round(loaded.pause * 1000, 1), "ms of the baseline's work, each activation"),
        "teardown_p50_s": _seconds([life.teardown for life in kills.calm_lives], 50, TEARDOWN_LIMIT),
        **_times("calm", kills.calm_lives),
        **_times("killing", kills.killing_lives),
        "by_forks": Figure(found.by_forks, "records", at_least=1),
        "repeated": Figure(found.repeated, "by the same version, after a kill"),
        "kills": Figure(kills.kills, "", at_least=1),
        "crashes": Figure(loaded.crashes + kills.crashes + control.crashes, "of members by themselves", 0),
    }


def _times(when: str, lives: Sequence[Life]) -> dict[str, Figure]:
    activations, teardowns = [life.activation for life in lives], [life.teardown for life in lives]
    return {
        f"{when}_lives": Figure(len(lives), "of forks"),
        f"{when}_activation_p50_s": _seconds(activations, 50),
        f"{when}_activation_max_s": _seconds(activations, 100),
        f"{when}_teardown_max_s": _seconds(teardowns, 100),
    }


def _seconds(values: Sequence[float], percent: float, limit: float | None = None) -> Figure:
    return Figure(round(percentile(values, percent), 2) if values else "none", "s", limit)


def _tell(trial: Trial, outcome: Outcome, console: Console) -> None:
    found = outcome.verdict
    faults = {"lost": found.lost, "double": found.double, "misplaced": found.misplaced, "reordered": found.reordered}
    for name, items in faults.items():
        if items:
            console.print(f"  {trial.name}: {len(items)} {name}, such as {', '.join(map(str, items[:SHOWN]))}")
