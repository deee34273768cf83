"""What agents print never spoils the JSON on stdout, and is still seen; modules that do not
load.
"""

import json

import pytest

NOISY = """
import atexit, os, subprocess, sys, threading
from loom_runner import Complete, Continue, ToolRegistry
print("printed at import")
sys.stdout.write("written at import")
os.write(1, b"written to descriptor 1 at import\\n")
atexit.register(print, "printed at exit")
tools = ToolRegistry()

@tools.tool("speak")
def speak() -> str:
    print("printed in a tool's thread")
    return "said"

async def step(state, ctx):
    if state == 2:
        return Complete("caf\\u00e9")
    print("printed in a step")
    os.write(1, b"written to descriptor 1 in a step\\n")
    subprocess.run(["echo", "printed by a child process"])
    os.system("echo printed by a shell")
    await ctx.call_tool("speak")
    return Continue(state + 1)

def initial_state():
    print("printed in initial_state")
    return 0
"""
SAID = (
    "printed at import",
    "written at import",
    "written to descriptor 1 at import",
    "printed at exit",
    "printed in a tool's thread",
    "printed in a step",
    "written to descriptor 1 in a step",
    "printed by a child process",
    "printed by a shell",
    "printed in initial_state",
)


def test_what_an_agent_prints_goes_to_stderr_if_the_answer_is_json(place):
    place.write("noisy.py", NOISY)
    done = place.run("run", "noisy.py", "r")
    assert json.loads(done.stdout)["result"] == "café"
    for text in SAID:
        assert text in done.stderr, (text, done.stderr)
    lines = place.run("run", "noisy.py", "s", "--output", "jsonl").stdout.splitlines()
    assert [json.loads(line)["kind"] for line in lines][-1] == "result"


@pytest.mark.parametrize(
    "command", [("resume", "--run-id", "r"), ("resume", "noisy.py", "r"), ("verify", "noisy.py", "r")]
)
def test_it_holds_for_every_command_that_loads_the_module(place, command):
    place.write("noisy.py", NOISY)
    place.run("run", "noisy.py", "r", "--max-steps", "1")
    done = place.run(*command)
    assert json.loads(done.stdout)
    assert "printed at import" in done.stderr


def test_fork_and_worker_print_only_their_answer(place):
    place.write("noisy.py", NOISY)
    place.run("run", "noisy.py", "r", "--max-steps", "1")
    done = place.run("fork", "noisy.py", "r", "--step", "0", "--patch", "1")
    assert done.stdout == "r-fork-1\n"
    lines = place.run("worker", "noisy.py", "--until-idle").stdout.splitlines()
    assert {json.loads(line)["run_id"] for line in lines} == {"r-fork-1"}


def test_text_for_people_keeps_what_an_agent_prints_in_place(place):
    place.write("noisy.py", NOISY)
    done = place.run("run", "noisy.py", "r", "--output", "text")
    assert (
        done.stdout.index("printed at import") < done.stdout.index("printed in a step") < done.stdout.index("r  comp")
    )


def test_without_stderr_the_json_is_still_clean(place):
    import subprocess
    import sys

    place.write("noisy.py", NOISY)
    command = f"{sys.executable} -m loom_runner run noisy.py r 2>&-"
    done = subprocess.run(["bash", "-c", command], cwd=place.folder, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["status"] == "completed"


BODY = """
from loom_runner import Complete
async def step(state, ctx): return Complete(1)
def initial_state(): return 0
"""


@pytest.mark.parametrize(
    ("name", "text", "hint"),
    [
        ("pkg/rel.py", f"from .helper import HELP{BODY}", "name it pkg.rel."),
        ("pkg/sub/deep.py", f"from ..helper import HELP{BODY}", "name it pkg.sub.deep."),
        ("outer/own/agent.py", f"from own.helper import HELP{BODY}", "name it own.agent in the folder /"),
        ("spaces/rel.py", f"from .other import X{BODY}", "name it spaces.rel."),
        ("pkg/wrong.py", f"import nonexistent_pkg{BODY}", "No module named 'nonexistent_pkg' (wrong.py:1).\n"),
        ("exits.py", f"import sys\nsys.exit(4){BODY}", "SystemExit: 4 (exits.py:2).\n"),
        ("syntax.py", f"{BODY}def broken(:", "SyntaxError: invalid syntax (syntax.py:5).\n"),
        ("dies.py", f"{BODY}1 / 0", "ZeroDivisionError: division by zero (dies.py:5).\n"),
    ],
)
def test_a_module_that_does_not_load_is_one_line_with_its_place(place, name, text, hint):
    for folder in ("pkg", "pkg/sub", "spaces", "outer", "outer/own"):
        (place.folder / folder).mkdir()
    for file in ("pkg/__init__.py", "pkg/sub/__init__.py", "outer/own/__init__.py"):
        place.write(file, "")
    place.write("pkg/helper.py", "HELP = 1")
    place.write(name, text)
    done = place.run("run", name, "r")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert hint in done.stderr
    if "name it" in hint and "folder" not in hint:
        named = hint.removeprefix("name it ").rstrip(".")
        again = place.run("run", named, "r")
        assert again.returncode == (2 if name.startswith("spaces") else 0), again.stderr


def test_a_function_named_with_a_point_gets_the_form_with_a_colon(place):
    place.write("guard.py", BODY)
    assert "named with a colon: guard:step." in place.run("run", "guard.step", "r").stderr
