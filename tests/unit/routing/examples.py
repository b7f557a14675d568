"""How many sets of users' routes the property tests of routing look at, for each provider."""

from __future__ import annotations

import os
from typing import Final

from hypothesis import HealthCheck, settings

EXAMPLES: Final = int(os.environ.get("SIDESTREAM_EXAMPLES", "600"))
"""`make properties` takes 5,000."""

LOOK: Final = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
