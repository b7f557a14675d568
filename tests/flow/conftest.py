"""Flow tests run against a real API server: that of KUBECONFIG."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from flow.cluster import QUIET_GROUP, installed_crds, temporary_namespace
from sidestream.api.labels import GROUP
from sidestream_demo.environment import Environment

FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Do not fail a test for a socket that an earlier one left to the garbage collector.

    asyncio loses a TLS connection whose making is cancelled in its first instant, and these tests cancel a lot.
    """
    for item in items:
        if item.path.is_relative_to(FOLDER):
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"))


@pytest.fixture(scope="session")
def kubeconfig() -> str:
    path = os.environ.get("KUBECONFIG", "")
    if not path:
        pytest.fail("flow tests need a cluster: set KUBECONFIG, or run hack/test, which starts the lab", pytrace=False)
    return path


@pytest.fixture(scope="session")
def image() -> str:
    """The operator's image, in which pods of tests run: it has Python and aiohttp."""
    return Environment.from_variables().images()["operator"]


@pytest.fixture(scope="module")
def crds(kubeconfig: str) -> Iterator[None]:
    """Our kinds are served; an operator may be watching them.

    Not for the session, which would take them away only after the end-to-end tests, from under the release.
    """
    with installed_crds(kubeconfig, GROUP):
        yield


@pytest.fixture(scope="session")
def quiet_crds(kubeconfig: str) -> Iterator[None]:
    """Copies of our kinds are served that no operator meddles with: see `flow.cluster.quiet`."""
    with installed_crds(kubeconfig, QUIET_GROUP):
        yield


@pytest.fixture
def namespace(kubeconfig: str) -> Iterator[str]:
    """A namespace for this test alone."""
    with temporary_namespace(kubeconfig) as name:
        yield name
