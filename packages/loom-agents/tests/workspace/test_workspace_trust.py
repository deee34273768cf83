import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from loom_agents._workspace import workspace_trust
from loom_agents._workspace.jail import Workspace
from loom_agents._workspace.trusted_files import TrustedFiles
from loom_agents._workspace.workspace_trust import WorkspaceTrust


@pytest.fixture
def trust(workspace: Workspace, tmp_path: Path) -> WorkspaceTrust:
    return WorkspaceTrust(workspace, TrustedFiles(tmp_path / "trust.json"))


def test_an_objection_names_what_would_run_until_it_is_trusted(trust: WorkspaceTrust) -> None:
    (trust.workspace.root / "conftest.py").write_text("")
    assert "not trusted, and this would run" in str(trust.objection())
    assert "conftest.py" in str(trust.objection())
    trust.trust()
    assert trust.objection() is None


@pytest.mark.parametrize(
    ("path", "is_void"),
    [
        *[(name, True) for name in ("conftest.py", "tests/deep/conftest.py", "pytest.ini", "sub/pyproject.toml")],
        *[(name, True) for name in (".venv/bin/python", ".venv/pyvenv.cfg", "tox.ini", "pytest.toml", "sub/Makefile")],
        *[(name, False) for name in ("src/app.py", "tests/test_new.py", "README.md", "docs/x.toml")],
    ],
)
def test_what_steers_the_tests_voids_the_trust_and_a_source_file_does_not(
    trust: WorkspaceTrust, path: str, is_void: bool
) -> None:
    trust.trust()
    file = trust.workspace.root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("x = 1\n")
    assert (trust.objection() is not None) is is_void
    assert not is_void or "since it was changed" in str(trust.objection())


def test_the_program_that_the_test_command_names_is_a_part_of_it(trust: WorkspaceTrust) -> None:
    script = trust.workspace.root / "scripts" / "check"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\n")
    named = WorkspaceTrust(trust.workspace, trust.store, ("sh", "scripts/check"))
    named.trust()
    assert named.objection() is None and trust.objection() is not None
    script.write_text("#!/bin/sh\nother\n")
    assert named.objection() is not None


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["pipe", "endless"])
@pytest.mark.skipif(sys.platform == "win32", reason="needs pipes and devices")
def test_what_is_no_file_is_not_read(trust: WorkspaceTrust, make: Callable[[Path], object]) -> None:
    make(trust.workspace.root / "conftest.py")
    assert "conftest.py" in str(trust.objection())


def test_more_files_than_can_be_compared_are_never_trusted(
    trust: WorkspaceTrust, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace_trust, "_MAX_FILES", 3)
    for number in range(5):
        (trust.workspace.root / f"{number}").mkdir()
        (trust.workspace.root / f"{number}" / "conftest.py").write_text("")
    trust.trust()
    assert "too many to compare" in str(trust.objection())


def test_what_was_shown_is_trusted_and_not_what_is_there_when_the_user_answers(trust: WorkspaceTrust) -> None:
    shown = trust.steering()
    (trust.workspace.root / "conftest.py").write_text("")
    trust.trust(shown)
    assert "since it was changed" in str(trust.objection())


def test_other_commands_are_trusted_together_with_the_tests_and_bound_to_what_steers_them(
    trust: WorkspaceTrust,
) -> None:
    wider = WorkspaceTrust(
        trust.workspace, trust.store, None, (("cargo", "test"),), ("build.rs",), "`other --trust` trusts it"
    )
    assert "cargo test" in str(wider.objection()) and "`other --trust` trusts it" in str(wider.objection())
    wider.trust()
    assert wider.objection() is None
    (trust.workspace.root / "build.rs").write_text("fn main() {}\n")
    assert "since it was changed" in str(wider.objection())
