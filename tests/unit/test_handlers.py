from sidestream import handlers
from sidestream.api.labels import FINALIZER


def test_kopf_does_not_take_our_finalizer_for_its_own() -> None:
    assert handlers.settings().persistence.finalizer != FINALIZER
