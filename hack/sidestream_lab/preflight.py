"""What the machine must have before anything starts: packages, programs, disk, memory.

Each module of the lab names the Debian packages that it needs as `PACKAGES`; `sidestream_lab.up` hands them all to
`check`.
"""

from dataclasses import dataclass

from sidestream_lab.paths import World


@dataclass(frozen=True)
class Package:
    """A Debian package, and how to see that the machine has what it brings, by whatever way it came there.

    `proof` is a program looked for on PATH, or an absolute path. `worlds` says where it is needed at all.
    """

    name: str
    proof: str
    why: str
    worlds: frozenset[World] = frozenset({World.OWN})
