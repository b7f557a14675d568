"""What the HTTP face needs of whatever keeps the objects."""

from __future__ import annotations

from typing import Protocol

from sidestream.mapping.directory import Directory


class Source(Protocol):
    """Where answers come from."""

    @property
    def directory(self) -> Directory | None:
        """All answers, kept up to date; None while there are none yet."""
        ...

    @property
    def version(self) -> int:
        """The resourceVersion up to which every KafkaRoute is in there; it says something only with a directory."""
        ...

    def why_not_ready(self) -> str | None:
        """A sentence on what is missing; None when all is well."""
        ...
