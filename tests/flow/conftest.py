"""Flow tests run against a real API server: that of KUBECONFIG."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from flow.cluster import installed_crds, temporary_namespace


@pytest.fixture(scope="session")
def kubeconfig() -> str:
    path = os.environ.get("KUBECONFIG", "")
    if not path:
        pytest.fail("flow tests need a cluster: set KUBECONFIG, or run hack/test, which starts the lab", pytrace=False)
    return path


@pytest.fixture(scope="session")
def crds(kubeconfig: str) -> Iterator[None]:
    """Our kinds are served."""
    with installed_crds(kubeconfig):
        yield


@pytest.fixture
def namespace(kubeconfig: str) -> Iterator[str]:
    """A namespace for this test alone."""
    with temporary_namespace(kubeconfig) as name:
        yield name
