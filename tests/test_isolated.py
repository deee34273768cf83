"""A wheel that does not work alone is found: what it imports, its command, its main job."""

from pathlib import Path

import isolated
import pytest

MANIFEST = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "thing"
version = "1.0"
{extra}

[project.scripts]
thing = "thing.core:main"

[tool.hatch.build.targets.wheel]
packages = ["src/thing"]
"""
CORE = "import sys\ndef main(): print('Usage: thing', sys.argv[1:])\n"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace of one package that works alone."""
    for name, path in {"ROOT": "", "BUILD": "build/isolated", "WHEELS": "build/wheels", "SMOKES": "smoke"}.items():
        monkeypatch.setattr(isolated, name, tmp_path / path)
    source = tmp_path / "packages" / "thing" / "src" / "thing"
    source.mkdir(parents=True)
    (tmp_path / "smoke").mkdir()
    (tmp_path / "constraints.txt").touch()
    (source.parent.parent / "pyproject.toml").write_text(MANIFEST.format(extra=""))
    (source / "__init__.py").write_text("")
    (source / "core.py").write_text(CORE)
    (tmp_path / "smoke" / "thing.py").write_text("import thing.core\nthing.core.main()\n")
    return tmp_path


def failures(workspace: Path) -> list[str]:
    isolated.build_wheels()
    return list(isolated.alone(workspace / "packages" / "thing"))


def core(workspace: Path) -> Path:
    return workspace / "packages" / "thing" / "src" / "thing" / "core.py"


def test_a_package_that_works_alone_passes(workspace: Path) -> None:
    assert failures(workspace) == []


def test_an_import_that_no_manifest_declares_is_found(workspace: Path) -> None:
    (core(workspace).parent / "other.py").write_text("import pytest\n")

    assert {line.partition(":")[0] for line in failures(workspace)} == {
        "thing.other cannot be imported, and no extra brings pytest"
    }


def test_a_module_may_lack_what_an_extra_brings_until_the_extra_is_installed(workspace: Path) -> None:
    folder = workspace / "packages" / "thing"
    (folder / "pyproject.toml").write_text(
        MANIFEST.format(extra='[project.optional-dependencies]\nserve = ["prometheus-client>=0.22"]\n')
    )
    (core(workspace).parent / "serve.py").write_text("import prometheus_client\n")
    isolated.build_wheels()
    python = isolated.environment("thing", isolated.sys.executable)
    isolated.install(python, [folder], extras=False)

    assert list(isolated.import_failures(python, folder, may_lack=isolated.brought_by_extras(folder))) == []
    (failure,) = isolated.import_failures(python, folder, may_lack=set())
    assert failure.startswith("thing.serve cannot be imported, and no extra brings prometheus_client")


@pytest.mark.parametrize("code", ["def main(): raise SystemExit(1)\n", "def main(): ...\n"])
def test_a_command_without_help_is_found(workspace: Path, code: str) -> None:
    core(workspace).write_text(code)
    (workspace / "smoke" / "thing.py").write_text("")

    (failure,) = failures(workspace)

    assert failure.startswith("thing --help failed")


def test_a_smoke_script_that_fails_is_found_and_so_is_a_missing_one(workspace: Path) -> None:
    script = workspace / "smoke" / "thing.py"
    script.write_text("import thing.core\nassert not 'this is seen'\n")
    assert ["AssertionError" in failure for failure in failures(workspace)] == [True]

    script.unlink()

    assert failures(workspace) == ["has no smoke script smoke/thing.py"]


def test_the_variables_of_the_caller_do_not_reach_a_package_under_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOM_DB", "mine.sqlite")
    monkeypatch.setenv("PYTHONPATH", "src")

    variables = isolated.isolated_environment("/usr/bin/python3")

    assert variables.keys().isdisjoint({"LOOM_DB", "PYTHONPATH"})
    assert variables["PATH"].startswith("/usr/bin:")
