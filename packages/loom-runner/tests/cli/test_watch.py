"""Following a run from another process, and exporting its rows."""

import json
import os
import pty
import signal
import subprocess
import sys

from loom_runner import SQLiteStore
from loom_runner._queries.watch import Watcher

RUN = ("run", "agent.py", "--run-id", "r")


def lines(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_watching_an_ended_run_prints_its_last_steps_and_ends_with_its_code(place):
    place.call(*RUN)
    done = place.call("watch", "r", "--last", "2")
    rows = lines(done)
    assert done.returncode == 0
    assert [row["kind"] for row in rows] == ["tool_call", "step", "step", "run"]
    assert [row["step_index"] for row in rows[1:3]] == [3, 4]
    assert (rows[-1]["status"], done.stderr) == ("completed", "explain: loom-runner explain r\n")


def test_a_waiting_run_is_at_rest_and_ends_the_watch_with_its_code(place):
    place.write("waits.py", "from loom_runner import Wait\nasync def step(s, ctx): return Wait(s, signal='go')")
    place.call("run", "waits.py", "--run-id", "w", "--input", "{}")
    done = place.call("watch", "w", "--output", "text")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (3, "w  waiting  1 step")


def test_a_run_that_was_not_started_is_idle(place):
    place.call(*RUN)
    place.call("fork", "r", "--step", "1", "--as", "f")
    done = place.call("watch", "f")
    assert (done.returncode, lines(done)[-1]["status"]) == (0, "created")


def test_changes_are_reported_once_and_in_order(place):
    place.call(*RUN, "--max-steps", "1")
    with SQLiteStore(place.folder / "runs.sqlite", read_only=True) as store:
        watcher = Watcher(store.reader, "r", 0)
        assert [row["kind"] for row in watcher.changes()] == ["tool_call", "step", "run"]
        assert watcher.changes() == []
        assert watcher.is_idle
        place.call("resume", "agent.py", "r", "--max-steps", "2")
        assert [(row["kind"], row["step_index"]) for row in watcher.changes()] == [
            ("tool_call", 1),
            ("tool_call", 2),
            ("step", 1),
            ("step", 2),
            ("run", 3),
        ]


def test_a_call_in_flight_and_its_end_are_reported(place):
    process = place.spawn(*RUN, BLOCK_AT="tool-1")
    place.wait_for("reached", process)
    with SQLiteStore(place.folder / "runs.sqlite", read_only=True) as store:
        watcher = Watcher(store.reader, "r", 0)
        watcher.changes()
        assert [call.name for call in watcher.in_flight] == ["charge"]
        assert not watcher.is_idle
        (place.folder / "open").touch()
        process.communicate(timeout=30)
        ended = [row for row in watcher.changes() if row["kind"] == "tool_call" and row["step_index"] == 1]
        assert [(row["status"], row["result"]) for row in ended] == [("done", "receipt 1")]
        assert watcher.in_flight == []


def test_a_run_whose_process_disappeared_is_said_so(place):
    place.killed(*RUN, DIE_AT="step-2")
    done = place.call("watch", "r")
    assert done.returncode == 130
    assert done.stderr == (
        "its process disappeared, and no other has taken over. resume: loom-runner resume agent.py --run-id r\n"
    )


def test_a_terminal_is_redrawn_and_ctrl_c_ends_the_watch(place):
    process = place.spawn(*RUN, BLOCK_AT="tool-1")
    place.wait_for("reached", process)
    ours, theirs = pty.openpty()
    watching = subprocess.Popen(
        [sys.executable, "-m", "loom_runner", "watch", "r", "--every", "0.05"],
        cwd=place.folder,
        env={**os.environ, "COLUMNS": "60", "TERM": "xterm", "NO_COLOR": "1"},
        stdout=theirs,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(theirs)
    shown = b""
    while shown.count(b"charge") < 3:
        shown += os.read(ours, 4096)
    watching.send_signal(signal.SIGINT)
    _, err = watching.communicate(timeout=30)
    assert (watching.returncode, err.strip()) == (130, "interrupted.")
    text = shown.decode()
    assert "\033[3A\033[K" in text
    assert f"r  running  step 1  process {process.pid}" in text
    assert max(len(line) for line in text.replace("\033[3A", "").replace("\033[K", "").split("\r\n")) <= 60
    (place.folder / "open").touch()
    process.communicate(timeout=30)
    os.close(ours)


def test_an_export_contains_every_row_and_a_file_is_complete_or_missing(place):
    place.killed(*RUN, DIE_AT="tool-2-after-effect")
    place.call("signal", "news", "r", "--payload", "[1]")
    place.call("resume", "agent.py", "r")
    rows = lines(place.call("export", "r"))
    assert (rows[0]["kind"], rows[0]["format"], rows[1]["kind"], rows[1]["result"]) == ("export", 1, "run", 4)
    kinds = [row["kind"] for row in rows]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "export": 1,
        "run": 1,
        "process": 2,
        "step": 5,
        "attempt": 1,
        "tool_call": 4,
        "tool_try": 1,
        "signal": 1,
    }
    done = place.call("export", "r", "--to", "r.jsonl")
    assert (done.stdout, done.stderr) == ("", "r.jsonl: 16 lines about r\n")
    assert (place.folder / "r.jsonl").read_text("utf-8").splitlines() == place.call("export", "r").stdout.splitlines()
    os.mkfifo(place.folder / "pipe")
    reader = subprocess.Popen(["cat", "pipe"], cwd=place.folder, stdout=subprocess.PIPE, text=True)
    assert place.call("export", "r", "--to", "pipe").returncode == 0
    assert len(reader.communicate(timeout=30)[0].splitlines()) == 16
    assert (place.folder / "pipe").is_fifo()
    done = place.call("export", "r", "--to", "nowhere/r.jsonl")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "cannot write nowhere/r.jsonl: No such file or directory" in done.stderr
    done = place.call("export", "r", "--output", "text")
    assert (done.returncode, "an export is lines of JSON" in done.stderr) == (2, True)


ASKING = """
from loom_runner import Complete, RunContext, ToolRegistry
tools = ToolRegistry()

@tools.tool("pay", needs_approval=True)
async def pay(amount: int) -> str:
    return f"paid {amount}"

async def step(state: dict, ctx: RunContext) -> Complete:
    return Complete(await ctx.call_tool("pay", amount=state["amount"]))

def initial_state() -> dict:
    return {"amount": 5}
"""


def test_an_approval_is_listed_and_decided_and_the_run_continues(place):
    place.write("pays.py", ASKING)
    done = place.call("run", "pays.py", "p", "--output", "text")
    assert done.returncode == 3
    assert "  waits  for 1 approval (p#r1)" in done.stdout
    assert done.stderr == "decide: loom-runner approvals p\n"
    done = place.call("approvals", "--output", "text")
    assert done.stdout.splitlines()[1].startswith("p#r1     0     pay   pending")
    assert done.stderr == "decide: loom-runner decide 'p#r1' --approve | --deny | --edit JSON\n"
    assert [row["id"] for row in lines(place.call("approvals", "p", "--output", "jsonl"))] == ["p#r1"]
    for arguments, said in (
        (("p#r1",), "choose one of --approve, --deny and --edit JSON"),
        (("p#r1", "--edit", "[1]"), "'[1]' is not a JSON object of arguments"),
        (("p#9", "--approve"), "there is no such request"),
        (("q#1", "--approve"), "there is no such run"),
    ):
        done = place.call("decide", *arguments)
        assert (done.returncode, done.stderr.count("\n"), said in done.stderr) == (2, 1, True), done.stderr
    done = place.call("decide", "p#r1", "--edit", '{"amount": 3}', "--by", "ann")
    assert (done.returncode, done.stderr) == (
        0,
        "approved: p#r1 (pay). resume: loom-runner resume pays.py --run-id p\n",
    )
    assert json.loads(place.call("resume", "p").stdout)["result"] == "paid 3"
    assert place.call("approvals", "--output", "text").stderr == "No call waits for an approval.\n"
    assert [row["status"] for row in lines(place.call("approvals", "p", "--all", "--output", "jsonl"))] == ["used"]


def test_a_watch_that_stays_sees_the_run_to_its_end(place):
    place.write(
        "waits.py",
        """
        from loom_runner import Complete, Wait

        async def step(state, ctx):
            return Wait(state, signal="go") if ctx.signal is None else Complete(ctx.signal.payload)
        """,
    )
    place.call("run", "waits.py", "w", "--input", "{}")
    watching = place.spawn("watch", "w", "--stay", "--every", "0.05")
    first = [json.loads(watching.stdout.readline()) for _ in range(2)]
    assert [row["kind"] for row in first] == ["step", "run"]
    assert place.call("signal", "go", "w", "--payload", "7").returncode == 0
    assert place.call("resume", "w").returncode == 0
    out, _ = watching.communicate(timeout=30)
    assert watching.returncode == 0
    last = json.loads(out.splitlines()[-1])
    assert (last["kind"], last["status"], last["result"]) == ("run", "completed", 7)
