"""Renders the chart with real helm, the one on PATH or the lab's."""

import os
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidestream_lab.paths import Layout

CHART = Path(__file__).parents[3] / "charts" / "sidestream"
NAMESPACE = "sidestream-system"

Object = dict[str, Any]
Render = Callable[..., list[Object]]
Helm = Callable[..., subprocess.CompletedProcess[str]]


def find_program(name: str) -> str:
    path = os.pathsep.join((os.environ.get("PATH", ""), str(Layout.from_environment().bin)))
    program = shutil.which(name, path=path)
    if program is None:
        pytest.skip(f"needs {name}: install it or run `make lab-up` once")
    return program


@pytest.fixture(scope="session")
def helm() -> Helm:
    program = find_program("helm")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=60)

    return run


@pytest.fixture(scope="session")
def template(helm: Helm) -> Helm:
    @cache
    def run(*values: str) -> subprocess.CompletedProcess[str]:
        settings = [argument for value in values for argument in ("--set", value)]
        return helm(
            "template", "sidestream", str(CHART), "--namespace", NAMESPACE, "--kube-version", "1.36.0", *settings
        )

    return run


@pytest.fixture(scope="session")
def render(template: Helm) -> Render:
    def run(*values: str) -> list[Object]:
        done = template(*values)
        assert done.returncode == 0, done.stderr
        return [document for document in yaml.safe_load_all(done.stdout) if document]

    return run
