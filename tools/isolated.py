"""Test packages as a user gets them: from built wheels, in an environment without the workspace.

    python tools/isolated.py --alone                each package alone: only its wheel and what that declares
    python tools/isolated.py --python 3.12 3.13     all wheels together, on other Pythons of this machine

The suite runs once, in the workspace. An editable workspace hides an import that no manifest
declares, and a file that no wheel contains; and one Python hides what another does differently.

* Alone: every module is imported, first without extras (a module may then lack only what an extra
  of the package brings), then with all of them; every command answers `--help`; and the smoke
  script of the package (`tests/smoke/`) does its main job.
* On another Python: the tests marked `interpreter`, and every smoke script. Tests that need another
  program (a browser, node) are left out: that program does the same under each Python.

A Python that is missing is reported and skipped; with LOOM_REQUIRE_ALL set it is a failure.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "isolated"
WHEELS = ROOT / "build" / "wheels"
SMOKES = ROOT / "tests" / "smoke"
UV = str(Path(sys.executable).parent / "uv")
TEST_TOOLS = ("pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "playwright", "coverage")
SMOKE_TIMEOUT_S = 120

IMPORT_EACH = """
import importlib, json, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ImportError as error:
        missing = error.__cause__ if isinstance(error.__cause__, ImportError) else error
        print(json.dumps([name, missing.name, str(error)]))
"""


def run(*command: str) -> None:
    subprocess.run(command, cwd=ROOT, check=True)


def folders() -> list[Path]:
    return [
        manifest.parent
        for group in ("packages", "apps", "servers")
        for manifest in sorted(ROOT.glob(f"{group}/*/pyproject.toml"))
    ]


def project_of(folder: Path) -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    return project


def build_wheels() -> None:
    shutil.rmtree(WHEELS, ignore_errors=True)
    for folder in folders():
        run(
            UV, "build", "--quiet", "--wheel", "--no-build-isolation", "--python", sys.executable,
            "--out-dir", str(WHEELS), str(folder),
        )  # fmt: skip


def interpreter(version: str) -> str | None:
    """Find a Python of that version, on the PATH or among pyenv's; a shim without a Python does not
    count.
    """
    candidates = [shutil.which(f"python{version}")]
    if pyenv := shutil.which("pyenv"):
        prefix = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=True).stdout.strip()
        candidates += [str(path) for path in sorted(Path(prefix).glob(f"versions/{version}.*/bin/python"))]
    for candidate in filter(None, candidates):
        if subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode == 0:
            return candidate
    return None


# ------------------------------------------------------------------ environments


def environment(name: str, python: str) -> str:
    """Make an empty environment; return its interpreter."""
    target = BUILD / name
    run(UV, "venv", "--quiet", "--clear", "--python", python, str(target))
    return str(target / "bin" / "python")


def install(python: str, chosen: list[Path], *, extras: bool, tools: tuple[str, ...] = ()) -> None:
    """Install the wheels of these packages with the dependencies that they declare, and these
    tools.
    """
    fresh = [f"--reinstall-package={folder.name}" for folder in folders()]  # a wheel of the same version may be cached
    wheels = [
        str(next(WHEELS.glob(f"{folder.name.replace('-', '_')}-*.whl")))
        + (f"[{','.join(names)}]" if extras and (names := project_of(folder).get("optional-dependencies")) else "")
        for folder in chosen
    ]
    run(
        UV, "pip", "install", "--quiet", "--python", python, "--find-links", str(WHEELS), *fresh,
        "--constraints", str(ROOT / "constraints.txt"), *wheels, *tools,
    )  # fmt: skip


def isolated_environment(python: str) -> dict[str, str]:
    """The variables for a program of that environment: its commands come first; no settings of the
    caller's.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LOOM_", "PYTHON"))}
    path = f"{Path(python).parent}{os.pathsep}{os.environ['PATH']}"
    return {**kept, "VIRTUAL_ENV": str(Path(python).parent.parent), "PATH": path}


# ------------------------------------------------------------------ checks


def modules(folder: Path) -> list[str]:
    """Every module of the package; a `__main__` runs only as a program."""
    source = folder / "src"
    return [
        ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted(source.rglob("*.py"))
        if path.name != "__main__.py"
    ]


def normal(name: str) -> str:
    """The name of a distribution as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def brought_by_extras(folder: Path) -> set[str]:
    """The distributions that the extras of a package name, also through an extra of another package
    of ours.
    """
    found: set[str] = set()
    waiting = [each for extra in project_of(folder).get("optional-dependencies", {}).values() for each in extra]
    ours = {other.name: other for other in folders()}
    while waiting:
        match = re.match(r"([\w.-]+)(?:\[([\w,-]+)\])?", waiting.pop())
        assert match is not None
        if match[1] in ours:
            theirs = project_of(ours[match[1]])["optional-dependencies"]
            waiting += [each for extra in (match[2] or "").split(",") if extra for each in theirs[extra]]
        else:
            found.add(normal(match[1]))
    return found


def import_failures(python: str, folder: Path, *, may_lack: set[str]) -> Iterator[str]:
    """Import every module; a module may fail only because one of these distributions is not
    installed.
    """
    done = subprocess.run(
        [python, "-I", "-c", IMPORT_EACH, *modules(folder)], cwd=BUILD, capture_output=True, text=True, check=False
    )
    if done.returncode:
        yield f"a module cannot be imported: {done.stderr}"
    distributions = packages_distributions()  # of the workspace, which has every extra
    for line in done.stdout.splitlines():
        module, missing, text = json.loads(line)
        top = (missing or "").partition(".")[0]
        if may_lack.isdisjoint(map(normal, distributions.get(top, []))):
            yield f"{module} cannot be imported, and no extra brings {missing}: {text}"


def help_failures(python: str, folder: Path) -> Iterator[str]:
    for command in project_of(folder).get("scripts", {}):
        done = subprocess.run(
            [str(Path(python).parent / command), "--help"], cwd=BUILD, capture_output=True, text=True, check=False
        )
        if done.returncode or "usage" not in done.stdout.lower():
            yield f"{command} --help failed: {done.stdout}{done.stderr}"


def smoke_failures(python: str, folder: Path) -> Iterator[str]:
    """Run the smoke script of the package in an empty folder; a package with code must have one."""
    source = next((folder / "src").glob("*/__init__.py")).parent
    script = SMOKES / f"{folder.name.replace('-', '_')}.py"
    if not script.exists():
        if len(list(source.rglob("*.py"))) > 1:
            yield f"has no smoke script {script.relative_to(ROOT)}"
        return
    with tempfile.TemporaryDirectory() as empty:
        done = subprocess.run(
            [python, "-I", str(script)], cwd=empty, env=isolated_environment(python), timeout=SMOKE_TIMEOUT_S,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode:
        yield f"the smoke script failed:\n{done.stdout}{done.stderr}"


def alone(folder: Path) -> Iterator[str]:
    """Check one wheel in an environment with nothing but what it declares."""
    python = environment(folder.name, sys.executable)
    install(python, [folder], extras=False)
    plugins = {"pytest"} if "pytest11" in project_of(folder).get("entry-points", {}) else set()
    yield from import_failures(python, folder, may_lack=brought_by_extras(folder) | plugins)
    yield from help_failures(python, folder)
    yield from smoke_failures(python, folder)
    install(python, [folder], extras=True)
    yield from import_failures(python, folder, may_lack=plugins)


def on_python(version: str, found: str, chosen: list[Path], workers: str) -> Iterator[str]:
    """Check all wheels together on one Python."""
    python = environment(f"py{version}", found)
    install(python, chosen, extras=True, tools=TEST_TOOLS)
    tests = [str(folder / "tests") for folder in chosen if any((folder / "tests").rglob("test_*.py"))]
    command = [python, "-m", "pytest", "-q", "-m", "interpreter and not slow and not needs", "-n", workers, *tests]
    if tests and subprocess.run(command, cwd=ROOT, env=isolated_environment(python), check=False).returncode:
        yield "tests marked `interpreter` failed"
    with ThreadPoolExecutor(int(workers)) as threads:
        smokes = threads.map(lambda folder: list(smoke_failures(python, folder)), chosen)
        for folder, failures in zip(chosen, smokes, strict=True):
            yield from (f"{folder.name}: {failure}" for failure in failures)


def main() -> int:
    parser = argparse.ArgumentParser(description="Test packages from their built wheels.")
    parser.add_argument("--alone", action="store_true", help="each package in an environment with only its wheel")
    parser.add_argument("--python", nargs="*", default=[], metavar="X.Y", help="all packages together on these Pythons")
    parser.add_argument("--package", help="only this one (folder name)")
    parser.add_argument("--workers", default="2", help="pytest-xdist workers (default 2)")
    options = parser.parse_args()
    build_wheels()
    chosen = [folder for folder in folders() if options.package in (None, folder.name)]
    failed: list[str] = []
    if options.alone:
        with ThreadPoolExecutor(int(options.workers)) as workers:
            for folder, failures in zip(chosen, workers.map(lambda each: list(alone(each)), chosen), strict=True):
                print(f"{folder.name} alone: {'FAILED' if failures else 'ok'}", flush=True)
                failed += [f"{folder.name} alone: {failure}" for failure in failures]
    for version in options.python:
        if (found := interpreter(version)) is None:
            print(f"Python {version}: SKIPPED, it is not on this machine", flush=True)
            if os.environ.get("LOOM_REQUIRE_ALL"):
                failed.append(f"Python {version} is missing, and LOOM_REQUIRE_ALL is set")
            continue
        failures = list(on_python(version, found, chosen, options.workers))
        print(f"Python {version}: {'FAILED' if failures else 'ok'}", flush=True)
        failed += [f"Python {version}: {failure}" for failure in failures]
    for line in failed:
        print(f"isolated: {line}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
