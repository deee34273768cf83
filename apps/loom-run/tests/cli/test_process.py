"""The command as a process: start-up time, kill -9 in the middle of a tool, Ctrl-C."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SLOW_TEST = """
import os, time
def test_slow():
    with open("effects", "a") as file:
        file.write(f"{os.getpid()}\\n")
    if not os.path.exists("go"):
        time.sleep(600)
"""
REPLIES = (
    {"tool_calls": [{"name": "search_docs", "arguments": {"query": "resume"}}]},
    {
        "tool_calls": [
            {"name": "read_file", "arguments": {"path": "README.md"}},
            {"name": "run_tests", "arguments": {"path": "tests/test_slow.py"}},
        ]
    },
    "The tests passed.",
)


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "loom_run", *arguments]


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(_command(*arguments), capture_output=True, text=True, timeout=60)


def _until(is_true: Callable[[], bool], process: "subprocess.Popen[str] | None" = None) -> None:
    end = time.monotonic() + 30
    while not is_true():
        assert time.monotonic() < end, "it did not happen in time"
        assert process is None or process.poll() is None, "the process has ended"
        time.sleep(0.02)


def _effects(project: Path) -> list[int]:
    return [int(line) for line in (project / "effects").read_text().split()] if (project / "effects").exists() else []


def _tool_calls(project: Path) -> dict[str, Any]:
    rows = subprocess.run(
        [sys.executable, "-m", "loom_runner", "tool-calls", "--run-id", "demo", "--output", "json"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {call["name"]: call for call in json.loads(rows.stdout)}


@pytest.fixture
def slow(project: Path) -> Path:
    (project / "tests" / "test_slow.py").write_text(SLOW_TEST)
    return project


def _is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_run_killed_in_a_tool_call_resumes_and_repeats_nothing_recorded(
    slow: Path, script: Callable[..., str]
) -> None:
    option = script(*REPLIES)
    process = subprocess.Popen(_command("chat", "test it", "-r", "demo", "--trust", option), text=True)
    _until(lambda: bool(_effects(slow)), process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    _until(lambda: all(_is_gone(pid) for pid in _effects(slow)))
    before = _tool_calls(slow)
    assert {name for name, call in before.items() if call["status"] == "done"} == {"search_docs", "read_file"}
    assert before["run_tests"]["status"] in {"started", "in_doubt"}
    (slow / "go").touch()
    ended = _run("resume", "demo")
    assert (ended.returncode, ended.stdout) == (0, "The tests passed.\n")
    assert f"process {process.pid} disappeared" in ended.stderr
    assert "read_file" in ended.stderr
    after = _tool_calls(slow)
    assert {name: call["tries"] for name, call in after.items()} == {"search_docs": 1, "read_file": 1, "run_tests": 2}
    assert [after[name] for name in ("search_docs", "read_file")] == [before["search_docs"], before["read_file"]]
    assert len(_effects(slow)) == 2
    assert after["run_tests"]["result"]["summary"].startswith("1 passed")


@pytest.mark.interpreter
def test_ctrl_c_leaves_a_run_that_can_be_resumed(slow: Path, script: Callable[..., str]) -> None:
    option = script(*REPLIES)
    process = subprocess.Popen(
        _command("chat", "test it", "-r", "demo", "--trust", option),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    _until(lambda: bool(_effects(slow)), process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "interrupted. Resume: loom-run resume demo"
    assert "Traceback" not in err
    assert all(_is_gone(pid) for pid in _effects(slow))
    (slow / "go").touch()
    assert _run("resume", "demo").stdout == "The tests passed.\n"


def test_a_second_process_reports_that_the_run_is_busy(slow: Path, script: Callable[..., str]) -> None:
    process = subprocess.Popen(
        _command("chat", "test it", "-r", "demo", "--trust", script(*REPLIES)), stderr=subprocess.DEVNULL
    )
    _until(lambda: bool(_effects(slow)))
    busy = _run("resume", "demo")
    (slow / "go").touch()
    process.kill()
    process.wait()
    assert busy.returncode == 7
    assert len(busy.stderr.splitlines()) == 1


def test_undo_refuses_a_running_run_unless_it_is_forced(slow: Path) -> None:
    write = {"tool_calls": [{"name": "write_file", "arguments": {"path": "new.txt", "text": "x"}}]}
    script = {"format": "loom-script/1", "replies": [write, *REPLIES[1:]]}
    (slow / "script.json").write_text(json.dumps(script))
    command = _command("chat", "go", "-r", "demo", "--mock-llm=script.json", "--mode", "edits", "--trust")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    _until(lambda: len(_effects(slow)) == 1, process)
    busy = _run("undo", "demo")
    process.kill()
    process.communicate()
    assert busy.returncode == 7
    assert "is driving the run" in busy.stderr
    assert (slow / "new.txt").exists()
    forced = _run("undo", "demo", "--force")
    assert (forced.returncode, forced.stdout) == (0, "new.txt removed (change 1, write_file)\n")
    assert not (slow / "new.txt").exists()


def test_help_loads_no_heavy_modules(project: Path) -> None:
    code = (
        "import sys\n"
        "from loom_run._cli.group import cli\n"
        "try: cli(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'pydantic', 'rich', 'yaml', 'pathspec', 'loom', 'mcp', 'fastapi', 'openai', 'apsw', 'asyncio'}\n"
        "heavy |= {'loom_agents._agent', 'loom_agents._models', 'loom_agents._serve.app', 'loom_agents._serve.tokens', 'loom_agents._workspace'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stderr == "[]\n"
    assert "chat" in ended.stdout


def test_a_mock_chat_loads_no_schema_library(project: Path) -> None:
    code = (
        "import sys\n"
        "from loom_run._cli.group import cli\n"
        "cli(['chat', 'whales', '--mock-llm'], standalone_mode=False)\n"
        "print(sorted({'pydantic', 'rich', 'yaml'} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "[]"


def test_a_reader_that_closes_the_pipe_is_not_an_error(project: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run(_command("chat", "whales", "--mock-llm"), stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr


@pytest.mark.interpreter
@pytest.mark.parametrize("closed", ["stdin", "stdout", "stderr"])
def test_a_stream_closed_by_the_shell_is_not_an_error(project: Path, closed: str) -> None:
    number = {"stdin": 0, "stdout": 1, "stderr": 2}[closed]
    code = f"import os, sys; os.close({number}); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    command = [sys.executable, "-c", code, "-m", "loom_run", "chat", "whales", "--mock-llm"]
    ended = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert "internal error" not in ended.stderr


def test_the_five_lines_of_the_first_walk_work_in_order_in_an_empty_folder(tmp_path: Path) -> None:
    shutil.copytree(Path(__file__).parents[4] / "examples", tmp_path / "examples")
    lines = (
        "loom-runner run examples/counter_agent.py --run-id demo --db runs.sqlite --max-steps 5",
        "loom-runner resume examples/counter_agent.py --run-id demo --db runs.sqlite",
        "loom-runner explain examples/counter_agent.py --run-id demo --db runs.sqlite",
        "loom-runner run examples/counter_agent.py --run-id demo --trace trace.html",
        'loom-run chat "hello" --run-id demo --db runs.sqlite --mock-llm',
    )
    ended = []
    for line in lines:
        program, *arguments = shlex.split(line)
        command = [sys.executable, "-m", program.replace("-", "_"), *arguments]
        ended.append(subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60))
    assert [(done.returncode, done.stderr) for done in ended if done.returncode != 0] == []
    assert [json.loads(done.stdout)["status"] for done in ended[:4]] == [
        "paused",
        "completed",
        "completed",
        "completed",
    ]
    assert (tmp_path / "trace.html").stat().st_size > 10_000
    assert "hello" in ended[4].stdout
    assert "demo is a run of another program here; this chat has the id chat:demo" in ended[4].stderr
