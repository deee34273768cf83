"""Every example runs in a separate process, from the folder that the page names, and prints the
documented output.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2]
ROOT = PACKAGE.parents[1]

PRINTED = {
    "deep_agent_loop_comparison": """\
plain recursion failed: RecursionError
loom recursion survived: AgentState(remaining=0, total=100000)
""",
    "agent_tool_loop": """\
word_count('how many words are in this question') -> 7
shout('done') -> DONE
7 words. DONE!
tail calls compiled: 2
""",
    "agent_loop_with_budget": """\
stopped: no steps left (found 5, Budget(steps=0, tokens=975))
stopped: no tokens left (found 5, Budget(steps=995, tokens=-5))
reached the goal (found 3, Budget(steps=6, tokens=87))
""",
    "agent_loop_with_hooks": """\
step 0: read
step 1: delete
step 2: report
done: did read, refused, did report
""",
    "streaming_agent": """\
one.flat.stack.
final after 3 steps
10001 events from 5000 steps
""",
    "protocol_session": """\
ada left after 1 messages
500 say HELLO first
250 hello
250 took 2 lines
500 what is DANCE
bob left after 3000 messages
""",
    "retry_with_backoff": """\
open
attempt 1: request 1 failed, again in 1 ms
close
open
attempt 2: request 2 failed, again in 2 ms
close
open
close
answer to request 3
open
attempt 1: request 1 failed, again in 1 ms
close
open
close
gave up: request 2 failed
reported: block-scope in line 54
reported: exception-context in line 54
""",
}


def run(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("name", PRINTED)
def test_an_example_prints_the_documented_output(name):
    done = run(f"examples/{name}.py", folder=PACKAGE if name == "agent_tool_loop" else ROOT)
    assert done.stdout == PRINTED[name], done.stderr
    assert done.stderr == ""
    assert done.returncode == 0


def test_the_package_and_the_root_show_the_same_examples_scripts_and_docs():
    for name in ("examples", "scripts", "docs"):
        door = PACKAGE / name
        assert door.is_symlink()
        assert not door.readlink().is_absolute()
        assert door.resolve() == ROOT / name


@pytest.mark.parametrize("folder", [ROOT, PACKAGE], ids=["root", "package"])
def test_the_benchmark_script_runs_from_both_folders(folder):
    done = run("scripts/bench_tailcalls.py", "--n", "50", "--samples", "1", folder=folder)
    assert done.returncode in (0, 1), done.stderr  # fifty steps are no measurement: a bar may be missed
    assert "self.method" in done.stdout
    assert done.stderr == ""
