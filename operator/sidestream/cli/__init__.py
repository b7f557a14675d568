"""The `sidestream` command: one module a subcommand; each option can also be set by its SIDESTREAM_ variable."""
