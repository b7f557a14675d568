"""One member's place: what a pod of its workload would be told."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from bench.handoff.handled import BASELINE
from sidestream_sdk import Identity


@dataclass(frozen=True)
class Post:
    """`version` is BASELINE or the Sandbox. `lag` makes it read the mapping only so often (seconds; 0: as it should);
    `work` is how long it handles a record.
    """

    version: str
    number: int
    bootstrap: str
    group: str
    topic: str
    mapping_url: str
    consumer: str
    folder: str
    lag: float = 0.0
    work: float = 0.0

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` made."""
        return cls(**json.loads(text))

    def to_json(self) -> str:
        """All of it, for a command line."""
        return json.dumps(asdict(self))

    @property
    def name(self) -> str:
        """Unique within the trial."""
        return f"{self.version}-{self.number}"

    @property
    def file(self) -> Path:
        """Where the member tells what it handled; who takes over the post goes on in it."""
        return Path(self.folder) / f"{self.name}.handled"

    @property
    def log(self) -> Path:
        """What the member's libraries say."""
        return Path(self.folder) / f"{self.name}.log"

    @property
    def identity(self) -> Identity:
        """Who asks the mapping service."""
        sandbox = None if self.version == BASELINE else self.version
        return Identity(self.mapping_url, self.consumer, sandbox)

    @property
    def commits_itself(self) -> bool:
        """Every other member commits by itself, the rest leave it to the client as it is by default."""
        return self.number % 2 == 1
