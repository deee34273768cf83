"""Every attempt of the red team is held; `make redteam` also shows that each can succeed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.redteam.__main__ import hole_found
from tests.redteam.area import area_names, load_area

pytestmark = pytest.mark.uncovered

ATTEMPTS = [
    pytest.param(attempt, id=f"{name}-{label}")
    for name in area_names()
    for label, attempt in load_area(name).attempts.items()
]


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_attempt_is_held(attempt, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    assert attempt(folder) is None


@pytest.mark.parametrize("name", area_names())
def test_planted_hole_is_found(name: str) -> None:
    assert hole_found(name), f"no attempt of the area {name} gets through its planted hole"
