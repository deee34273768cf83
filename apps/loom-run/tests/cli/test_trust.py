"""`loom-run trust`: what a workspace would run is shown, and trusted once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

Run = Callable[..., Any]


def test_without_a_terminal_nothing_is_trusted_and_the_option_is_named(loom_run: Run) -> None:
    asked = loom_run("trust")
    assert asked.code == 2
    assert "there is no terminal" in asked.err
    assert "loom-run trust --yes" in asked.err
    assert loom_run("trust").code == 2


def test_what_would_run_is_shown_and_trusted_until_a_file_changes(loom_run: Run, project: Path) -> None:
    (project / "loom.toml").write_text('model = "test:one"  # \u202ered\n')
    (project / "pytest.ini").write_text("[pytest]\n")
    trusted = loom_run("trust", "--yes")
    assert trusted.code == 0
    assert "run_tests runs: " in trusted.out
    assert "pytest.ini" in trusted.out
    assert '  | model = "test:one"  # \\u202ered' in trusted.out
    assert "is trusted from now on" in trusted.err
    again = loom_run("trust")
    assert (again.code, "is trusted\n" in again.err) == (0, True)
    (project / "loom.toml").write_text('model = "test:two"\n')
    assert loom_run("trust").code == 2
    assert loom_run("trust", "--yes").code == 0
    (project / "pytest.ini").write_text("[pytest]\naddopts = -q\n")
    assert loom_run("trust").code == 2


def test_a_file_that_is_not_the_own_one_is_not_trusted(loom_run: Run, project: Path) -> None:
    (project / ".mcp.json").write_text('{"mcpServers": {}}')
    (project / ".mcp.json").chmod(0o666)
    refused = loom_run("trust", "--yes")
    assert refused.code == 2
    assert "cannot trust" in refused.err
    assert refused.err.count("\n") == 1
