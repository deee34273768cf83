"""The import contracts of this package hold, and a planted violation of each is found."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import loom
import pytest

pytest.importorskip("importlinter")
ROOT = Path(__file__).parents[4]
CONFIG = """
[tool.importlinter]
root_package = "loom"
[[tool.importlinter.contracts]]
name = "layers"
type = "layers"
containers = ["loom"]
exhaustive = true
layers = {layers}
[[tool.importlinter.contracts]]
name = "circles"
type = "acyclic_siblings"
ancestors = ["loom"]
"""


@pytest.fixture
def check(tmp_path, monkeypatch):
    """Return a function that adds code to a copy of the package and runs import-linter on it."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (each["layers"] for each in contracts if each["id"] == "loom")
    (tmp_path / "contracts.toml").write_text(CONFIG.format(layers=layers))
    shutil.copytree(Path(loom.__file__).parent, tmp_path / "loom", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def run(module, code):
        with (tmp_path / "loom" / module).open("a") as stream:
            stream.write(code)
        command = [str(Path(sys.executable).parent / "lint-imports"), "--config", "contracts.toml", "--no-cache"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        return done.returncode, " ".join(done.stdout.split())

    return run


def test_the_contracts_hold(check):
    code, text = check("__init__.py", "")
    assert code == 0, text
    assert "Contracts: 2 kept" in text


@pytest.mark.parametrize(
    ("module", "planted", "reported"),
    [
        ("_source.py", "def f():\n    import loom._locate\n", "_source is not allowed to import loom._locate"),
        (
            "_runtime.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from loom._plan import Plan\n",
            "_runtime is not allowed to import loom._plan",
        ),
        ("_loop.py", "import loom._step\n", "_loop is not allowed to import loom._step"),
        ("_frame.py", "def f():\n    import loom._positions\n", "No cycles are allowed"),
        ("_unplaced.py", "", "_unplaced"),
    ],
    ids=["up, in a function", "up, for types", "sideways", "a circle", "a module in no layer"],
)
def test_a_planted_violation_is_reported(check, module, planted, reported):
    code, text = check(module, "\n" + planted)
    assert code == 1
    assert reported in text
