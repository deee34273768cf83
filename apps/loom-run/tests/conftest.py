"""What the tests of the command share."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from loom_run._cli.group import cli
from loom_runner.cli_base import run_command


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def project(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder with a document, and make it the current one."""
    (tmp_path / "README.md").write_text(
        "# Whales\n\nA project about whales.\n\n## Resume\n\nRuns resume after a kill.\n"
    )
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_ok.py").write_text("def test_ok():\n    pass\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
    for variable in ("LOOM_MODEL", "LOOM_DB"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


@pytest.fixture
def loom_run(project: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run the command in this process, in the project's folder."""

    def run(*arguments: str) -> Ended:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            run_command(cli, list(arguments), name="loom-run")
        captured = capsys.readouterr()
        code = ended.value.code
        return Ended(code if isinstance(code, int) else 0, captured.out, captured.err)

    return run


@pytest.fixture
def script(project: Path) -> Callable[..., str]:
    """Write a script and give the option that names it."""

    def write(*replies: Any) -> str:
        (project / "script.json").write_text(json.dumps({"format": "loom-script/1", "replies": list(replies)}))
        return f"--mock-llm={project / 'script.json'}"

    return write
