"""The examples: each runs, prints what its docstring shows, and leaves nothing behind."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"

SHOWN = {
    "resumable_agent.py": [
        r"the first process ended with -9",
        r"the second one answers: Go to Lisbon or Faro\.",
        r"interrupted +in step 2: process \d+ disappeared",
        r"3 calls, 1 in doubt and retried with its key",
    ],
    "inspectable_automation.py": [
        r"retried +step 0: 3 attempts, ToolFailed \(transient\)",
        r"step 2  try 1  failed +TimeoutError: the log server did not answer",
        r"step 2  notify  x1  \"sent\"",
        r"messages that went out: \['3 orders, 495 in all'\]",
    ],
    "regression_lab.py": [
        r"the same prompt: passed",
        r"another prompt: support differs from its golden run: 5 differences",
        r'result: "Answer: see chapter 14" -> "Answer: turn it off and on again"',
        r"page: .*support\.run\.diff\.html",
    ],
    "audit_runner.py": [
        r"asked for: pay \{'amount': 2500\}, above 1,000, 2 people",
        r"after ann: waiting\nafter bob: completed",
        r"90000 refused: nobody may pay more than 50,000 from here",
        r"approve by bob \(budget is there\)",
        r"exported: 1 export, 1 run, 2 process, 4 step, 2 tool_call, 1 approval",
    ],
    "field_sync.py": [
        r"session 1: failed +step +\d+",
        r"completed +step 13, 12 of 12 readings on the server",
        r"12 readings are kept, each once",
    ],
}


def run(*command, cwd):
    return subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )


pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the examples are not beside this copy of the tests")


@pytest.mark.parametrize("name", SHOWN)
def test_an_example_shows_what_it_says(tmp_path, name):
    done = run(EXAMPLES / name, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for pattern in SHOWN[name]:
        assert re.search(pattern, done.stdout), (pattern, done.stdout)
    assert list(tmp_path.iterdir()) == []


def test_the_regression_lab_is_a_gate_for_pytest(tmp_path):
    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", EXAMPLES / "regression_lab.py", cwd=tmp_path)
    assert (done.returncode, "1 passed" in done.stdout) == (0, True), done.stdout


def test_the_resumable_agent_works_on_the_command_line_as_documented(place):
    command = ("-m", "loom_runner")
    agent = EXAMPLES / "resumable_agent.py"
    assert run(*command, "run", agent, "--run-id", "trip", "--max-steps", "2", cwd=place.folder).returncode == 0
    done = run(*command, "resume", "trip", "--output", "text", cwd=place.folder)
    assert 'result  "Go to Lisbon or Faro."' in done.stdout, done.stderr
    assert "2 processes" in run(*command, "explain", "trip", "--output", "text", cwd=place.folder).stdout
