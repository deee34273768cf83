"""Run the documentation page: write its files, and compare the output of its commands."""

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parents[3] / "docs" / "flow-xray.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def steps(text):
    """Yield ("file", name, content) and ("command", line, output) in the order of the page."""
    for language, content in BLOCK.findall(text):
        if language == "python":
            name = re.match(r"# (\S+\.py)\n", content)
            assert name is not None, content
            yield "file", name[1], content
        else:
            for part in re.split(r"^\$ ", content, flags=re.MULTILINE)[1:]:
                line, _, expected = part.partition("\n")
                yield "command", line, expected


def matches(expected, given):
    """Compare; `...` matches anything, and runs of spaces are equal."""
    parts = [re.escape(" ".join(part.split())) for part in expected.split("...")]
    return re.fullmatch(".*?".join(parts), " ".join(given.split()), re.DOTALL) is not None


def test_every_example_of_the_page_has_the_output_shown(tmp_path):
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("COV", "PYTEST"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), plain.get("PATH", "")])
    environment = {**plain, "PATH": path, "PYTHONPATH": str(tmp_path), "COLUMNS": "200", "PYTHONDONTWRITEBYTECODE": "1"}
    # Loading only what is needed makes the runs of pytest fast; that the plugin is found by itself
    # is tested beside it.
    environment |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "flow_xray.pytest_plugin"}
    code, seen = 0, 0
    for what, name, content in steps(PAGE.read_text(encoding="utf-8")):
        if what == "file":
            (tmp_path / name).write_text(content)
            continue
        done = subprocess.run(
            ["bash", "-c", f"(exit {code}); {name}"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        code = done.returncode
        seen += 1
        given = done.stdout + done.stderr
        assert matches(content, given), f"$ {name}\n--- shown\n{content}\n--- given\n{given}"
    assert seen > 20


def test_the_comparison_detects_a_difference():
    assert matches("a ... b\nc", "a  xyz b\n c\n")
    assert not matches("a ... b", "a b c")
    assert not matches("a", "")
