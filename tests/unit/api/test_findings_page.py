from pathlib import Path

import pytest

from sidestream.api.findings import FindingReason

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "findings.md"


@pytest.mark.parametrize("reason", list(FindingReason))
def test_the_page_explains_every_reason(reason: FindingReason) -> None:
    assert f"| `{reason.value}` |" in PAGE.read_text()


def test_the_page_explains_no_reason_that_does_not_exist() -> None:
    rows = [line.split("`")[1] for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert sorted(rows) == sorted(reason.value for reason in FindingReason)
