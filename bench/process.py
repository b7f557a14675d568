"""What the kernel tells about a process."""

import os
from pathlib import Path

_USER, _SYSTEM = 11, 12
"""Places of both times in /proc/PID/stat, counted after the program's name."""


def cpu_seconds(pid: int) -> float:
    """Processor time that it has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[_USER]) + int(fields[_SYSTEM])
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int | str = "self") -> int:
    """Memory that it occupies."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (kilobytes,) = (line.split()[1] for line in lines if line.startswith("VmRSS:"))
    return int(kilobytes) * 1024
