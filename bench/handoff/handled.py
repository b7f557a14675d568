"""What a member has handled: one line for each record, appended to the member's file before anything is committed."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self, TextIO

BASELINE = "baseline"
"""The version that is no fork; a fork's version is its Sandbox, which has the name of its tenant."""

NOBODY = "nobody"
"""The tenant of a record that has no baggage."""

PATTERN = "*.handled"


class Place(NamedTuple):
    """Where a record is."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True)
class Handled:
    """A record as a member of one version handled it; `moment` is on the clock that all processes here share."""

    version: str
    member: str
    place: Place
    tenant: str
    key: str
    sequence: int
    moment: float

    @classmethod
    def from_line(cls, line: str) -> Self:
        """What `line` told."""
        version, member, topic, partition, offset, tenant, key, sequence, moment = line.split("\t")
        place = Place(topic, int(partition), int(offset))
        return cls(version, member, place, tenant, key, int(sequence), float(moment))

    def line(self) -> str:
        """One line, with its end."""
        fields = (self.version, self.member, *self.place, self.tenant, self.key, self.sequence, f"{self.moment:.6f}")
        return "\t".join(map(str, fields)) + "\n"


def append(file: TextIO, handled: Handled) -> None:
    """Write it so that a member that is killed right after has told of it."""
    file.write(handled.line())
    file.flush()


def read(folder: Path) -> Iterator[Handled]:
    """All that the members who wrote into this folder handled."""
    for path in sorted(folder.glob(PATTERN)):
        with path.open() as file:
            # A member that was killed while it wrote has not handled that record.
            yield from (Handled.from_line(line.rstrip("\n")) for line in file if line.endswith("\n"))
