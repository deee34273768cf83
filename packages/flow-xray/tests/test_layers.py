"""The import contracts of this package, and that a planted violation of each is caught."""

import subprocess
import sys
import tomllib
from pathlib import Path

import flow_xray
import pytest

ROOT = Path(__file__).parents[3]
CONFIG = """
[tool.importlinter]
root_packages = ["flow_xray"]
[[tool.importlinter.contracts]]
id = "layers"
name = "layers"
type = "layers"
containers = ["flow_xray"]
exhaustive = true
layers = {layers}
[[tool.importlinter.contracts]]
id = "circles"
name = "circles"
type = "acyclic_siblings"
ancestors = ["flow_xray"]
"""


@pytest.fixture
def check(tmp_path, monkeypatch):
    """Return a function that adds code to a copy of the package and runs import-linter on it."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (each["layers"] for each in contracts if each["id"] == "flow_xray")
    (tmp_path / "contracts.toml").write_text(CONFIG.format(layers=layers))
    source = Path(flow_xray.__file__).parent
    for module in source.rglob("*.py"):
        copy = tmp_path / "flow_xray" / module.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(module.read_text(encoding="utf-8"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def run(module=None, code=""):
        if module is not None:
            with (tmp_path / "flow_xray" / module).open("a") as stream:
                stream.write(code)
        command = [str(Path(sys.executable).parent / "lint-imports"), "--config", "contracts.toml", "--no-cache"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        return done.returncode, " ".join(done.stdout.split())

    return run


def test_the_contracts_hold(check):
    code, text = check()
    assert code == 0, text


@pytest.mark.parametrize(
    ("module", "planted", "says"),
    [
        (
            "_data/span.py",
            "def f():\n    import flow_xray._result\n",
            "_data is not allowed to import flow_xray._result",
        ),
        (
            "_read/damage.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import flow_xray._record.trace\n",
            "_read is not allowed to import flow_xray._record",
        ),
        ("_compare/align.py", "import flow_xray._read.files\n", "_compare is not allowed to import flow_xray._read"),
        ("_write/page/columns.py", "def f():\n    import flow_xray._write.page.blocks\n", "No cycles are allowed"),
        ("_unplaced.py", "", "_unplaced"),
    ],
    ids=["up, in a function", "up, for types", "beside", "a circle in a folder", "a module in no layer"],
)
def test_a_planted_violation_is_caught(check, module, planted, says):
    code, text = check(module, "\n" + planted)
    assert code == 1
    assert says in text
