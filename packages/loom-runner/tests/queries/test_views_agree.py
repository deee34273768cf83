"""One run with everything that can happen to a run; all views of it say the same."""

import json
import os
import signal
from collections import Counter

import pytest
from loom_runner import Runs, SQLiteStore
from loom_runner._queries.tracing import trace_of

AGENT = """
import os, signal, time
import apsw
from pathlib import Path
from loom_runner import (AgentRunner, Ask, Child, Complete, Continue, RetryPolicy, SQLiteStore, Spawn, ToolFailed,
                         ToolRegistry, Wait)

HERE = Path(__file__).parent
tools = ToolRegistry()

@tools.tool("look", read_only=True)
async def look(n: int) -> int:
    return n

@tools.tool("flaky", idempotent=True)
async def flaky(attempt: int = 0) -> str:
    if not (HERE / "flaked").exists():
        (HERE / "flaked").touch()
        raise TimeoutError("slow")
    return "fine"

@tools.tool("charge")
async def charge() -> str:
    if os.environ.get("DIE") and not (HERE / "died").exists():
        (HERE / "died").touch()
        wait_for_renewal()
        os.kill(os.getpid(), signal.SIGKILL)
    return "receipt"

@tools.tool("deploy", needs_approval=True)
async def deploy(env: str) -> str:
    return f"deployed to {env}"

def wait_for_renewal():
    db = apsw.Connection(str(HERE / "runs.sqlite"), flags=apsw.SQLITE_OPEN_READONLY)
    renewed = "SELECT renewed_at FROM runs WHERE run_id = 'r'"
    first = db.execute(renewed).get
    while db.execute(renewed).get == first:
        time.sleep(0.01)
    db.close()

async def kid(state, ctx):
    return Complete(await ctx.call_tool("look", n=state))

async def step(state, ctx):
    match state:
        case 0:
            await ctx.call_tool("look", n=1)
            return Continue(1)
        case 1:
            await ctx.call_tool("flaky")
            return Continue(2)
        case 2:
            await ctx.call_tool("look", n=2)
            await ctx.call_tool("charge")
            return Continue(3)
        case 3:
            await ctx.call_tool("look", n=3)
            await ctx.call_tool("deploy", env="production")
            return Continue(4)
        case 4:
            return Wait(5, signal="go")
        case 5:
            return Spawn(6, children=[Child("a", 1, program="kid"), Child("b", 2, program="kid")])
    return Complete("done")

def initial_state():
    return 0

def build_runner(db_path):
    store = SQLiteStore(db_path, "process")
    retry = RetryPolicy(3, initial_s=0)
    child = AgentRunner(step=kid, name="kid", store=store, tools=tools)
    return AgentRunner(step=step, store=store, tools=tools, retry=retry, children={"kid": child}, lease_s=1.0)
"""


@pytest.fixture
def story(place):
    """The place of that run; it is over."""
    place.write("eventful.py", AGENT)
    place.killed("run", "eventful.py", "r", DIE="1")
    yield place


def views(place):
    with SQLiteStore(place.folder / "runs.sqlite", read_only=True) as store:
        runs = Runs(store)
        trace = trace_of(store.reader, "r")
        return (
            runs.explain("r").data,
            runs,
            trace,
            store.reader.verify("r"),
            {
                "history": runs.history("r"),
                "attempts": runs.attempts("r"),
                "calls": runs.tool_calls("r"),
                "approvals": runs.approvals("r"),
                "children": runs.children("r"),
                "tries": store.reader.tool_tries("r"),
                "stats": runs.stats(),
            },
        )


def of_run(trace, run_id="r"):
    """The spans of a run without those of its children."""
    children = {span.id for span in trace.spans if span.meta.get("run_id") not in (None, run_id)}
    found, below = [], set(children)
    for span in trace.spans:
        if span.id in children or span.parent_id in below:
            below.add(span.id)
        else:
            found.append(span)
    return found


def check_agreement(place, status):
    story, _, trace, report, rows = views(place)
    spans = of_run(trace)
    is_asking = [str(span.meta.get("outcome")).startswith("waits for") for span in spans]  # writes no row of its own
    attempts = [span for span, asks in zip(spans, is_asking, strict=True) if span.kind == "step" and not asks]
    counts = story["counts"]
    assert story["status"] == status
    assert report.ok, report.problems
    assert counts["steps"] == story["step_index"] == len(rows["history"]) == report.checked["steps"]
    assert counts["steps"] == sum(span.status == "ok" for span in attempts)
    assert counts["attempts"] == len(rows["attempts"]) == len(attempts)
    assert counts["failed_attempts"] == sum(row["outcome"] == "failed" for row in rows["attempts"])
    assert counts["failed_attempts"] == sum(span.status == "error" for span in attempts)
    assert counts["interrupted_attempts"] == sum(row["outcome"] == "interrupted" for row in rows["attempts"])
    assert counts["interrupted_attempts"] == sum(span.status == "interrupted" for span in attempts)
    calls = [span for span in spans if span.kind == "tool"]
    assert counts["tool_calls"] == len(rows["calls"]) == report.checked["tool_calls"]
    assert {row["id"] for row in rows["calls"]} == {span.meta["call"] for span in calls}
    assert len(calls) == sum(row["tries"] for row in rows["calls"]) == len(rows["calls"]) + len(rows["tries"])
    latest = {span.meta["call"]: span for span in sorted(calls, key=lambda span: span.meta["attempt"])}
    for row in rows["calls"]:
        span = latest[row["id"]]
        assert {"done": "ok", "failed": "error", "in_doubt": "interrupted"}[row["status"]] == span.status
        assert round(row["duration_ms"] * 1e6) == span.duration_ns
    assert story["children"] == [
        {name: child[name] for name in ("run_id", "status", "step_index")} for child in rows["children"]
    ]
    assert Counter(row["status"] for row in rows["approvals"]) == rows["stats"]["approvals"]
    assert sum(rows["stats"]["runs"].values()) == 1 + len(rows["children"])
    assert rows["stats"]["runs"][status] >= 1
    if not rows["children"]:
        known = Counter("started" if row["status"] == "in_doubt" else row["status"] for row in rows["calls"])
        assert sum(known.values()) == sum(rows["stats"]["tool_calls"].values())
    return story, trace, rows


def test_all_views_agree_at_every_stage_of_an_eventful_run(story):
    """Failed, killed, decided, approved, signalled, with children, completed."""
    data, trace, rows = check_agreement(story, "interrupted")
    [doubt] = [row for row in rows["calls"] if row["status"] == "in_doubt"]
    assert doubt["tries"] == 1
    [killed] = [span for span in trace.spans if span.kind == "tool" and span.status == "interrupted"]
    assert killed.duration_ns > 0, "it ran until its process last renewed the lease"
    assert "resume" in data["next"]
    assert "is gone; resume it" in data["interrupted"]

    assert story.run("resume", "r").returncode == 3
    check_agreement(story, "waiting")
    done = story.run("resolve", doubt["id"], "--result", '"receipt"', "--by", "ann")
    assert done.returncode == 0, done.stderr
    assert story.run("resume", "r").returncode == 3
    data, trace, rows = check_agreement(story, "waiting")
    [request] = rows["approvals"]
    assert (request["id"], request["status"], request["tool"]) == ("r#r1", "pending", "deploy")
    done = story.run("decide", request["id"], "--approve", "--by", "bob", "--note", "change 42")
    assert done.returncode == 0, done.stderr
    assert story.run("resume", "r").returncode == 3
    check_agreement(story, "waiting")
    assert story.run("signal", "go", "r", "--payload", '"now"').returncode == 0
    done = story.run("resume", "r")
    assert json.loads(done.stdout)["status"] == "completed", done.stderr
    data, trace, rows = check_agreement(story, "completed")

    said = json.dumps(data["events"])
    for text in ("charge its result was given by ann", "r#r1 deploy approved by bob via loom-runner: change 42"):
        assert text in said
    [approved] = [row for row in rows["history"] if any(each["by"] == "bob" for each in row["decisions"])]
    assert (approved["step_index"], approved["decisions"][0]["note"]) == (3, "change 42")
    [resolved] = [row for row in rows["history"] if any(each["by"] == "ann" for each in row["decisions"])]
    assert (resolved["step_index"], resolved["decisions"][0]["how"]) == (2, "result")
    waits = {span.name: span for span in trace.spans if span.kind == "wait"}
    person = waits["wait for the approval of deploy"]
    assert person.meta == {"tools": "deploy", "decided_by": "bob", "notes": "change 42"}
    assert person.output == ["r#r1 deploy approved by bob via loom-runner: change 42"]
    assert person.input[0]["arguments"] == {"env": "production"}
    [charged] = [span for span in trace.spans if span.name == "charge"]
    assert (charged.duration_ns, charged.meta["decided_by"]) == (killed.duration_ns, "ann"), "not until the decision"
    assert waits[f"wait for a decision about {doubt['id']} (charge)"].meta["decided_by"] == "ann"
    assert waits["wait for signal 'go'"].output == "now"
    assert "wait for children" in waits


def test_a_failed_try_hangs_under_the_attempt_that_made_it(story):
    _, trace, _ = check_agreement(story, "interrupted")
    by_id = {span.id: span for span in trace.spans}
    tries = [span for span in trace.spans if span.name == "flaky"]
    tries.sort(key=lambda span: span.meta["attempt"])
    assert [(span.status, by_id[span.parent_id].status, by_id[span.parent_id].meta["attempt"]) for span in tries] == [
        ("error", "error", 1),
        ("ok", "ok", 2),
    ]


def test_no_command_calls_a_dead_process_running(story):
    for command in (
        ("list",),
        ("get", "r"),
        ("explain", "r"),
        ("stats",),
        ("doctor",),
        ("watch", "r"),
        ("history", "r"),
    ):
        for output in ("text", "json", "jsonl"):
            done = story.run(*command, "--output", output)
            assert "running" not in done.stdout, (command, output, done.stdout)
    assert story.run("explain", "r", "--output", "text").stdout.startswith("r  interrupted  2 steps, ")
    text = story.run("list", "--output", "text").stdout
    assert "interrupted" in text
    assert "is gone; resume it" in story.run("get", "r", "--output", "text").stdout
    assert story.run("list", "--status", "interrupted").stdout != "[]\n"
    assert story.run("list", "--status", "running").stdout == "[]\n"


def test_a_process_that_is_stopped_is_running_until_its_lease_expires(place):
    """It is not certainly gone; after the lease it is interrupted, whatever the system says of
    it.
    """
    process = place.spawn("run", "agent.py", "r", BLOCK_AT="step-1", LEASE_S="1")
    place.wait_for("reached", process)
    assert json.loads(place.run("get", "r").stdout)["status"] == "running"
    os.kill(process.pid, signal.SIGSTOP)
    with SQLiteStore(place.folder / "runs.sqlite", "process") as store:
        store._file.db.execute("UPDATE runs SET renewed_at = renewed_at - 5000")
    view = json.loads(place.run("get", "r").stdout)
    assert (view["status"], view["interrupted"]) == (
        "interrupted",
        f"process {process.pid} has not renewed its lease; resume it",
    )
    process.kill()
    process.communicate()
