"""The program and the script in the README work as documented."""

import re
import subprocess
import sys
from pathlib import Path

from loom_agents import ScriptedModel
from loom_agents._models.script_file import read_script

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def _block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found
    return found[1]


def test_the_program_runs_and_prints_what_its_comment_says(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", _block("python")], cwd=tmp_path, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "Hello.\n"), ended.stderr


def test_the_script_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "script.yaml").write_text(_block("yaml"))
    replies = read_script(tmp_path / "script.yaml")
    assert [len(reply.tool_calls) for reply in replies] == [2, 1, 0]
    assert replies[1].tool_calls[0].malformed == '{"path": '
    assert ScriptedModel.from_file(tmp_path / "script.yaml").name == "script:script.yaml"
