"""mypy and pyright see decorated functions as the user wrote them. The files in `typing_tests` are
checked, never run.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import loom
import pytest

FILES = Path(__file__).resolve().parents[1] / "typing_tests"
MISUSE = FILES / "misuse.py"
MARKED = {n for n, line in enumerate(MISUSE.read_text(encoding="utf-8").splitlines(), 1) if line.endswith("# error")}
SOURCE = Path(loom.__file__).parents[1]


def run_mypy(folder: Path) -> dict[str, set[int]]:
    pytest.importorskip("mypy")
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--no-error-summary",
        "--no-incremental",
        "--config-file",
        "",
        "-O",
        "json",
    ]
    done = subprocess.run(
        [*command, *map(str, sorted(FILES.glob("*.py")))],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=folder,
        # mypy finds an installed package by itself, and refuses to be told where site-packages are.
        env={"PATH": ""} if SOURCE.name == "site-packages" else {"PATH": "", "MYPYPATH": str(SOURCE)},
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found: dict[str, set[int]] = {}
    for line in done.stdout.splitlines():
        report = json.loads(line)
        if report["severity"] == "error":
            found.setdefault(Path(report["file"]).name, set()).add(report["line"])
    return found


def run_pyright(folder: Path) -> dict[str, set[int]]:
    command = shutil.which("basedpyright", path=str(Path(sys.executable).parent)) or shutil.which("basedpyright")
    if command is None:
        pytest.skip("basedpyright is not installed")
    settings = {
        "typeCheckingMode": "standard",
        "include": [str(path) for path in sorted(FILES.glob("*.py"))],
        "extraPaths": [str(SOURCE)],
        "reportUnusedExpression": False,
        "reportUnusedCoroutine": False,
    }
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    done = subprocess.run(
        [command, "--outputjson", "--pythonpath", sys.executable, "-p", str(folder)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=folder,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] == len(settings["include"])
    found: dict[str, set[int]] = {}
    for entry in report["generalDiagnostics"]:
        if entry["severity"] == "error":
            found.setdefault(Path(entry["file"]).name, set()).add(entry["range"]["start"]["line"] + 1)
    return found


@pytest.mark.parametrize("run", [run_mypy, run_pyright], ids=["mypy", "pyright"])
def test_a_checker_accepts_right_uses_and_reports_every_wrong_one(run, tmp_path):
    assert len(MARKED) > 8
    assert run(tmp_path) == {"misuse.py": MARKED}
