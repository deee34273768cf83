"""Test packages as a user gets them: the built wheel, in an environment that holds nothing else.

    python tools/isolated.py --alone                each package from its wheel, each in its own environment
    python tools/isolated.py --python 3.12 3.13     all wheels together, on other Pythons that are on this machine

An editable workspace hides an import that no manifest declares, and a file that no wheel carries; this does not.
Tests marked `slow` are left out here: they have run in the workspace. On other Pythons, so are those that need another
program (a browser, node): what that program does is the same. A Python that is missing is said and left out; with
LOOM_REQUIRE_ALL set it is a failure.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "isolated"
WHEELS = ROOT / "build" / "wheels"
UV = str(Path(sys.executable).parent / "uv")
TEST_TOOLS = [
    "pytest",
    "pytest-timeout",
    "pytest-xdist",
    "hypothesis",
    "playwright",
    "coverage",
    "mypy",
    "basedpyright",
]


def run(*command: str) -> None:
    subprocess.run(command, cwd=ROOT, check=True)


def folders() -> list[Path]:
    return [
        manifest.parent
        for group in ("packages", "apps", "servers")
        for manifest in sorted(ROOT.glob(f"{group}/*/pyproject.toml"))
    ]


def build_wheels() -> None:
    shutil.rmtree(WHEELS, ignore_errors=True)
    for folder in folders():
        run(
            UV,
            "build",
            "--quiet",
            "--wheel",
            "--no-build-isolation",
            "--python",
            sys.executable,
            "--out-dir",
            str(WHEELS),
            str(folder),
        )


def interpreter(version: str) -> str | None:
    """Find a Python of that version: on the PATH, or among pyenv's. A pyenv shim that leads nowhere does not count."""
    candidates = [shutil.which(f"python{version}")]
    if pyenv := shutil.which("pyenv"):
        prefix = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=True).stdout.strip()
        candidates += [str(path) for path in sorted(Path(prefix).glob(f"versions/{version}.*/bin/python"))]
    for candidate in filter(None, candidates):
        if subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode == 0:
            return candidate
    return None


def extras(name: str) -> str:
    """The extras of a package as a requirement has them: its tests cover what they bring."""
    folder = next(folder for folder in folders() if folder.name == name)
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    names = ",".join(project.get("optional-dependencies", {}))
    return f"[{names}]" if names else ""


def environment(name: str, python: str, wheels: list[str]) -> str:
    """Make an environment with these wheels (their own dependencies come along) and the test tools."""
    target = BUILD / name
    run(UV, "venv", "--quiet", "--clear", "--python", python, str(target))
    interpreter_path = str(target / "bin" / "python")
    fresh = [f"--reinstall-package={folder.name}" for folder in folders()]  # a wheel of the same version may be cached
    built = [str(next(WHEELS.glob(f"{name.replace('-', '_')}-*.whl"))) + extras(name) for name in wheels]
    run(
        UV, "pip", "install", "--quiet", "--python", interpreter_path, "--find-links", str(WHEELS), *fresh,
        "--constraints", str(ROOT / "constraints.txt"), *built, *TEST_TOOLS,
    )  # fmt: skip
    return interpreter_path


def tests(title: str, python: str, test_folders: list[Path], workers: str, marked: str) -> bool:
    """Run the tests against what is installed; true if they passed."""
    print(f"\n=== {title}", flush=True)
    command = [python, "-m", "pytest", "-q", "-m", marked, "-n", workers, *map(str, test_folders)]
    env = {**os.environ, "VIRTUAL_ENV": str(Path(python).parent.parent)}
    env["PATH"] = f"{Path(python).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(command, cwd=ROOT, env=env, check=False).returncode == 0


def has_tests(folder: Path) -> bool:
    return any((folder / "tests").rglob("test_*.py"))


def imports(python: str, folder: Path) -> bool:
    """Import every module of the package (a `__main__` runs only as a program)."""
    source = next((folder / "src").glob("*/__init__.py")).parent
    names = [
        ".".join((source.parent.name, *path.relative_to(source.parent).with_suffix("").parts))
        .removeprefix("src.")
        .removesuffix(".__init__")
        for path in sorted(source.rglob("*.py"))
        if path.name != "__main__.py"
    ]
    code = f"import importlib\nfor name in {names!r}: importlib.import_module(name)"
    return subprocess.run([python, "-I", "-c", code], cwd=BUILD, check=False).returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Test packages from their built wheels.")
    parser.add_argument("--alone", action="store_true", help="each package in an environment of its own")
    parser.add_argument("--python", nargs="*", default=[], metavar="X.Y", help="all packages together on these Pythons")
    parser.add_argument("--package", help="only this one (folder name)")
    parser.add_argument("--workers", default="2", help="pytest-xdist workers (default 2)")
    options = parser.parse_args()
    build_wheels()
    chosen = [folder for folder in folders() if options.package in (None, folder.name)]
    failed: list[str] = []
    if options.alone:
        for folder in chosen:
            python = environment(folder.name, sys.executable, [folder.name])
            if not imports(python, folder):
                failed.append(f"{folder.name}: a module does not import alone")
            elif has_tests(folder) and not tests(
                f"{folder.name} alone, from its wheel", python, [folder / "tests"], options.workers, "not slow"
            ):
                failed.append(f"{folder.name}: tests failed alone")
    for version in options.python:
        if (found := interpreter(version)) is None:
            print(f"\n=== SKIPPED: there is no Python {version} on this machine", flush=True)
            if os.environ.get("LOOM_REQUIRE_ALL"):
                failed.append(f"Python {version} is missing, and LOOM_REQUIRE_ALL is set")
            continue
        python = environment(f"py{version}", found, [folder.name for folder in chosen])
        folders_with_tests = [folder / "tests" for folder in chosen if has_tests(folder)]
        if not tests(f"Python {version}", python, folders_with_tests, options.workers, "not slow and not needs"):
            failed.append(f"tests failed on Python {version}")
    for line in failed:
        print(f"isolated: {line}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
