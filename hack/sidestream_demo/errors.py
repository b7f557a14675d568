"""What the demo tells when it cannot go on."""


class DemoError(Exception):
    """Something needed is missing or did not happen in time; the text says what, where, and what to do."""


class BrokenPromiseError(DemoError):
    """Sidestream did not do what the demo promises; the text says what was promised and what was seen."""
