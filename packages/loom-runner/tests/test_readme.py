"""The README: its files and command lines work, in order."""

import re
import shlex
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def test_the_files_and_lines_of_the_readme_work_in_order(place):
    for block in blocks("python"):
        name = re.match(r"# (\w+\.py)\n", block)
        assert name, block
        place.write(name[1], block)
    lines = [line.partition("  #")[0] for block in blocks("bash") for line in block.splitlines()]
    commands = [shlex.split(line) for line in lines if line.startswith("loom-runner ")]
    assert len(commands) >= 6
    for command in commands:
        done = place.run(*command[1:])
        assert done.returncode == 0, (command, done.stderr)
    assert '"result": [\n    0,\n    1,\n    4,\n    9,\n    16\n  ]' in done.stdout


def test_every_command_is_in_the_readme(place):
    text = README.read_text("utf-8").partition("## Commands")[2]
    named = place.call("--help").stdout.partition("Commands:")[2]
    for command in re.findall(r"^  ([a-z-]+) ", named, re.MULTILINE):
        assert re.search(rf"`[^`]*\b{command}\b[^`]*`", text), command
