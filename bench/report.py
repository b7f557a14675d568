"""What a benchmark found: a table for people, a JSON file for comparing runs."""

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

import sidestream
from sidestream.kube.port import DEPLOYMENTS, Resource
from sidestream_demo.cluster import Cluster
from sidestream_demo.environment import Environment

FOLDER = Path("build") / "bench"
NODES = Resource("", "v1", "nodes", "Node", namespaced=False)
STATEFUL_SETS = Resource("apps", "v1", "statefulsets", "StatefulSet")
PARTS = {"istiod": (DEPLOYMENTS, "istio-system", "istiod"), "kafka": (STATEFUL_SETS, "kafka", "kafka")}

Value = float | int | str | bool | list[float]


@dataclass(frozen=True)
class Figure:
    """One number (or its runs), in which unit, and what it has to keep: at most `limit`, at least `at_least`."""

    value: Value
    unit: str
    limit: float | None = None
    at_least: float | None = None

    @property
    def has_limit(self) -> bool:
        """Whether there is anything to keep."""
        return self.limit is not None or self.at_least is not None

    @property
    def holds(self) -> bool:
        """Whether it keeps its limits; what is no number keeps none."""
        if not self.has_limit:
            return True
        return (
            isinstance(self.value, float | int)
            and (self.limit is None or self.value <= self.limit)
            and (self.at_least is None or self.value >= self.at_least)
        )

    @property
    def limits(self) -> str:
        """The limits as the table shows them."""
        bounds = {"at most": self.limit, "at least": self.at_least}
        return ", ".join(f"{which} {bound:.2f}" for which, bound in bounds.items() if bound is not None)


@dataclass(frozen=True)
class Report:
    """A benchmark's figures, and under which versions and conditions they came about."""

    name: str
    figures: Mapping[str, Figure]
    versions: Mapping[str, str]
    conditions: Mapping[str, Value]

    @property
    def holds(self) -> bool:
        """Whether all figures keep their limits."""
        return all(figure.holds for figure in self.figures.values())


def publish(report: Report, console: Console) -> Report:
    """Print the table and write build/bench/NAME.json: each figure under its own name, units and limits beside them."""
    table = Table(title=f"bench {report.name}", title_justify="left")
    for column in ("figure", "value", "unit", "limit", ""):
        # a figure is looked for by its name, which is whole where the terminal is narrow
        table.add_column(
            column, justify="right" if column in {"value", "limit"} else "left", no_wrap=column == "figure"
        )
    for name, figure in report.figures.items():
        verdict = "" if not figure.has_limit else "[green]kept[/]" if figure.holds else "[red]missed[/]"
        table.add_row(name, _shown(figure.value), figure.unit, figure.limits, verdict)
    console.print(table)
    FOLDER.mkdir(parents=True, exist_ok=True)
    file = FOLDER / f"{report.name}.json"
    content = {
        "name": report.name,
        **{name: figure.value for name, figure in report.figures.items()},
        "holds": report.holds,
        "figures": {name: asdict(figure) for name, figure in report.figures.items()},
        "versions": dict(report.versions),
        "conditions": dict(report.conditions),
    }
    file.write_text(json.dumps(content, indent=2) + "\n")
    console.print(f"Written to {file}")
    return report


def versions(cluster: Cluster) -> dict[str, str]:
    """Versions of what was measured, and of what it ran on."""
    (node, *_) = cluster.objects(NODES)
    info = node["status"]["nodeInfo"]
    found = {
        "sidestream": sidestream.__version__,
        "kubernetes": info["kubeletVersion"],
        "container runtime": info["containerRuntimeVersion"],
        "python": platform.python_version(),
    }
    for part, (resource, namespace, name) in PARTS.items():
        workload = cluster.get(resource, namespace, name)
        if workload:
            found[part] = workload["spec"]["template"]["spec"]["containers"][0]["image"]
    return found


def conditions(cluster: Cluster, environment: Environment) -> dict[str, Value]:
    """The machine and cluster of the measurement."""
    nodes = cluster.objects(NODES)
    return {
        "cores": os.cpu_count() or 0,
        "load average before": os.getloadavg()[0],
        "kernel": platform.release(),
        "nodes": len(nodes),
        "cluster": "the lab's" if environment.is_lab else "given by KUBECONFIG",
    }


def _shown(value: Value) -> str:
    match value:
        case bool() | str() | int():
            return str(value)
        case float():
            return f"{value:.2f}"
        case list():
            return " ".join(f"{item:.2f}" for item in value)
