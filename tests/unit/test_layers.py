"""Imports point one way, foreign clients stay behind their facades, `operator/` never shadows the standard library."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "operator" / "sidestream"

DOMAINS = ("sandbox", "routing", "kafka", "mapping")
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "config"),
    ("runtime",),
    ("api",),
    ("kube",),
    DOMAINS,
    ("handlers",),
    ("app", "cli", "__main__"),
)
"""From the bottom up; a module imports only from layers below its own, and from its own part of its layer."""

TOP = LAYERS[-1]
ONLY_IN = {
    "kubernetes": ("kube",),
    "confluent_kafka": ("kafka",),
    "kopf": ("handlers", "app"),
    "typer": ("cli", "__main__"),
}
"""Which parts may import a foreign package."""

RANK = {part: rank for rank, parts in enumerate(LAYERS) for part in parts}


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module that is imported, at the top or within a function; `from a import b` counts as `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import of {node.module}"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def faults_of(part: str, modules: Iterator[str]) -> Iterator[str]:
    """Why a module in `part` must not import these modules."""
    for module in modules:
        top, _, rest = module.partition(".")
        if part not in ONLY_IN.get(top, (part,)):
            yield f"only {' and '.join(ONLY_IN[top])} may import {top}"
        if top != "sidestream" or not rest:
            continue
        other = rest.split(".")[0]
        if other not in RANK:
            yield f"{other} has no place in LAYERS"
        elif other != part and RANK[other] >= RANK[part] and not (part in TOP and other in TOP):
            yield f"{part} must not import {other}"


def sources() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    part = part_of(path)
    assert part in RANK, f"{part} has no place in LAYERS"
    assert list(faults_of(part, imported(ast.parse(path.read_text(encoding="utf-8"))))) == []


@pytest.mark.parametrize(
    ("part", "source", "fault"),
    [
        ("sandbox", "from sidestream.routing import table", "sandbox must not import routing"),
        ("runtime", "import sidestream.kube.port", "runtime must not import kube"),
        ("api", "def f():\n    from sidestream.kube.port import Object", "api must not import kube"),
        ("sandbox", "from kubernetes.aio import client", "only kube may import kubernetes"),
        ("kube", "import confluent_kafka", "only kafka may import confluent_kafka"),
        ("app", "from sidestream.somewhere import thing", "somewhere has no place in LAYERS"),
    ],
)
def test_what_points_the_other_way_is_told(part: str, source: str, fault: str) -> None:
    assert list(faults_of(part, imported(ast.parse(source)))) == [fault]


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("kafka", "from sidestream.kube.apply import ensure"),
        ("app", "from sidestream.config import OperatorSettings"),
        ("kafka", "from sidestream.kafka import port"),
        ("kube", "from kubernetes.aio import client"),
        ("mapping", "import fastapi"),
    ],
)
def test_what_points_the_right_way_passes(part: str, source: str) -> None:
    assert list(faults_of(part, imported(ast.parse(source)))) == []


def test_the_operator_folder_is_no_package() -> None:
    folder = ROOT / "operator"
    assert not (folder / "__init__.py").exists()
    assert [path.name for path in folder.glob("*.py")] == []


def test_the_standard_library_keeps_its_operator_module() -> None:
    code = "import operator, collections; print(operator.__file__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not Path(done.stdout.strip()).is_relative_to(ROOT / "operator")
