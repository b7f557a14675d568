"""`python -m sidestream` and the `sidestream` command."""

from __future__ import annotations

from sidestream.cli import main

if __name__ == "__main__":
    main()
