"""Starting a command loads only what that command needs."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"pydantic", "apsw", "rich", "zstandard", "pydantic_ai", "mcp", "fastapi", "asyncio"}


def loaded_by(*arguments: str) -> set[str]:
    """Top-level modules that the program imports, as `-X importtime` reports them."""
    report = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, check=False
    )
    assert report.returncode == 0, report.stderr[-2000:]
    names = (line.rpartition("|")[2].strip() for line in report.stderr.splitlines() if "|" in line)
    # `org` is what the standard library asks for to see whether it runs on Jython.
    return {name.partition(".")[0] for name in names if name != "imported package"} - {"org"}


@pytest.mark.parametrize(
    "command",
    [
        *("loom-tailcalls", "flow-xray", "loom-runner", "loom-run", "loom-ops"),
        *("docs-memory-mcp", "rule-based-verifier", "ops-runtime-mcp"),
    ],
)
def test_help_loads_nothing_heavy(command: str) -> None:
    program = Path(sys.executable).parent / command

    assert loaded_by(str(program), "--help") & HEAVY == set()


@pytest.mark.parametrize("module", ["loom", "flow_xray"])
def test_the_bottom_packages_load_only_the_standard_library(module: str) -> None:
    before = loaded_by("-I", "-c", "pass")  # what the environment's own hooks load at every start
    foreign = loaded_by("-I", "-c", f"import {module}") - before - set(sys.stdlib_module_names) - {module}

    assert {name for name in foreign if not name.startswith("_")} == set()
