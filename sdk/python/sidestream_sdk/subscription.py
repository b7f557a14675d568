"""What `subscribe` was called with, checked as the base class checks it, for a subscription that has to wait. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from confluent_kafka import Consumer, TopicPartition

RebalanceCallback = Callable[[Consumer, list[TopicPartition]], None]

_CALLBACKS: Final = ("on_assign", "on_revoke", "on_lost")


def rebalance_callbacks(args: tuple[Any, ...], callbacks: Mapping[str, Any]) -> dict[str, Any]:
    """The callbacks by name, those that were given by position too.

    Raises:
        TypeError: there are more than there is room for.
    """
    if len(args) > len(_CALLBACKS):
        raise TypeError(f"subscribe() takes at most {len(_CALLBACKS) + 1} arguments ({len(args) + 1} given)")
    return {**dict(zip(_CALLBACKS, args, strict=False)), **callbacks}


def check_subscription(topics: object, callbacks: Mapping[str, Any]) -> None:
    """Refuse at once what the base class would refuse later, far from the application's mistake.

    Raises:
        TypeError: the topics are no list, or a callback is unknown or cannot be called.
    """
    if not isinstance(topics, list):
        raise TypeError("expected list of topic unicode strings")
    for name, callback in callbacks.items():
        if name not in _CALLBACKS:
            raise TypeError(f"'{name}' is an invalid keyword argument for subscribe()")
        if not callable(callback):
            raise TypeError(f"{name} expects a callable")
