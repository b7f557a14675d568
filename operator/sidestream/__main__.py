"""`python -m sidestream` and the `sidestream` command."""

from __future__ import annotations

from sidestream.cli.main import main

if __name__ == "__main__":
    main()
