from __future__ import annotations

import pytest

from builders import having, namespace
from fakes.kube import FakeKubeApi
from sidestream.errors import KubeError, TransientError
from sidestream.kube.epoch import read_epoch
from sidestream.kube.port import Object

UID = "2f1c9a07-5a7e-4d0c-8d42-0a6a2d4f3b11"


def kube_system() -> Object:
    return namespace("kube-system", having("metadata.uid", UID))


async def test_the_epoch_is_the_beginning_of_the_uid_of_the_namespace_that_every_cluster_has() -> None:
    others = namespace("shop", having("metadata.uid", "another"))

    assert await read_epoch(FakeKubeApi(others, kube_system())) == "2f1c9a07"


async def test_a_cluster_without_the_namespace_is_a_clear_error() -> None:
    with pytest.raises(KubeError, match="there is no namespace kube-system to tell this cluster by"):
        await read_epoch(FakeKubeApi(namespace("shop")))


async def test_an_api_server_that_is_away_may_be_asked_again() -> None:
    api = FakeKubeApi(kube_system())
    api.fail(TransientError("away"), verb="get")

    with pytest.raises(TransientError):
        await read_epoch(api)
    assert await read_epoch(api) == "2f1c9a07"
