"""The pytest fixture `loom_golden`: fail a test when a run differs from its golden copy.

    def test_counter(loom_golden):
        loom_golden(build_runner, initial_state=State())

`pytest --update-goldens` writes the golden copies into `goldens/` beside the test file. This module
imports nothing of loom_runner until a test uses the fixture. PYTEST_DONT_REWRITE
"""

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from loom_runner.testing._golden import LoomGolden

__all__ = ["loom_golden"]

_PROPERTY = "loom_golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--update-goldens`, unless another plugin of the stack has added it."""
    with suppress(ValueError):
        parser.getgroup("goldens", "golden files").addoption(
            "--update-goldens", action="store_true", help="write the golden files that are missing or do not match"
        )


@pytest.fixture
def loom_golden(request: pytest.FixtureRequest) -> "LoomGolden":
    """Compare a run with its golden copy; see `loom_runner.testing.LoomGolden`."""
    from loom_runner.testing._golden import LoomGolden

    return LoomGolden(
        folder=request.path.parent / "goldens",
        default_name=f"{request.path.stem}.{request.node.name}",
        is_update=bool(request.config.getoption("--update-goldens")),
        note=lambda text: request.node.user_properties.append((_PROPERTY, text)),
    )


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """List the golden copies that were written. Their names are in the reports, also of xdist
    workers.
    """
    written = [
        text
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", None) == "call"
        for key, text in getattr(report, "user_properties", ())
        if key == _PROPERTY
    ]
    if written:
        terminalreporter.section("golden runs", sep="-")
        for text in sorted(written):
            terminalreporter.write_line(text)
