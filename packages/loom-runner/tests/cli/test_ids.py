"""Every id that a command prints can be pasted into every command that takes one."""

import json
import re

import pytest
from loom_runner import UsageError
from loom_runner._cli.main import main_group
from loom_runner.run_ids import call_id, check_run_id, parse_id, request_id

AGENT = """
import os
from loom_runner import AgentRunner, Child, Complete, Continue, SQLiteStore, Spawn, ToolRegistry

tools = ToolRegistry()

@tools.tool("look", read_only=True)
async def look() -> int:
    return 1

@tools.tool("charge")
async def charge() -> int:
    if os.environ.get("DIE"):
        os.kill(os.getpid(), 9)
    return 2

@tools.tool("deploy", needs_approval=True)
async def deploy(env: str) -> str:
    return env

async def kid(state, ctx):
    return Complete(await ctx.call_tool("look"))

async def step(state, ctx):
    if state == 0:
        return Spawn(1, children=[Child("a kid", 0, program="kid")])
    await ctx.call_tool("look")
    if state == 1:
        await ctx.call_tool("deploy", env="here")
        return Continue(2)
    await ctx.call_tool("charge")
    return Complete(3)

def initial_state():
    return 0

def build_runner(db_path):
    store = SQLiteStore(db_path, "process")
    child = AgentRunner(step=kid, name="kid", store=store, tools=tools)
    return AgentRunner(step=step, store=store, tools=tools, children={"kid": child})
"""
RUN = "the run"
ITEM = re.compile(r"the run(?::sub:a kid)?#r?[0-9]+")


@pytest.fixture
def eventful(place):
    """A run with a child, a request (used), and a call in doubt whose process is gone."""
    place.write("eventful.py", AGENT)
    assert place.run("run", "eventful.py", RUN).returncode == 3
    [request] = json.loads(place.run("approvals").stdout)
    assert place.run("decide", request["id"], "--approve").returncode == 0
    place.killed("resume", "--run-id", RUN, DIE="1")
    assert place.run("resume", "--run-id", RUN).returncode == 3
    return place


READS = {
    "explain": (),
    "get": (),
    "history": (),
    "attempts": (),
    "tool-calls": (),
    "doubts": (),
    "children": (),
    "approvals": ("--all",),
    "trace": (),
    "export": (),
    "verify": (),
    "watch": (),
}


def test_every_printed_id_is_accepted_by_every_command_that_reads(eventful):
    printed, runs = set(), set()
    for command, options in READS.items():
        for output in ("text", "jsonl") if command != "export" else ("jsonl",):
            done = eventful.call(command, RUN, *options, "--output", output)
            printed |= set(ITEM.findall(done.stdout + done.stderr))
    runs |= {run["run_id"] for run in json.loads(eventful.call("list").stdout)}
    assert {name.rpartition("#")[2][:1] for name in printed} >= {"r", "3"}, printed
    assert runs == {RUN, f"{RUN}:sub:a kid"}
    for name in sorted(printed | runs):
        for command in READS:
            for arguments in ((name,), ("--run-id", name)):
                done = eventful.call(command, *arguments)
                assert done.returncode in (0, 3), (command, arguments, done.stderr)


def test_a_call_and_a_request_of_the_same_number_are_two_things(eventful):
    call = json.loads(eventful.call("get", f"{RUN}#1").stdout)
    request = json.loads(eventful.call("get", f"{RUN}#r1").stdout)
    assert (call["id"], call["name"]) == (f"{RUN}#1", "look")
    assert (request["id"], request["tool"]) == (f"{RUN}#r1", "deploy")
    assert [row["id"] for row in json.loads(eventful.call("tool-calls", f"{RUN}#2").stdout)] == [f"{RUN}#2"]
    assert [row["id"] for row in json.loads(eventful.call("approvals", f"{RUN}#r1").stdout)] == [f"{RUN}#r1"]
    missing = eventful.call("get", f"{RUN}#99")
    assert (missing.returncode, missing.stderr) == (2, f"cannot get {RUN}#99: the run has no such call.\n")


def test_resolve_and_decide_refuse_the_id_of_the_other(eventful):
    [doubt] = json.loads(eventful.call("doubts").stdout)
    wrong = eventful.call("resolve", f"{RUN}#r1", "--retry")
    assert wrong.returncode == 2
    assert "it is an approval request, not a tool call. Decide it with loom-runner decide" in wrong.stderr
    wrong = eventful.call("decide", doubt["id"], "--approve")
    assert wrong.returncode == 2
    assert "it is the tool call in doubt. Decide about it with loom-runner resolve" in wrong.stderr
    assert eventful.call("resolve", doubt["id"], "--result", "2").returncode == 0


def test_the_earlier_form_of_a_request_is_accepted_unless_it_is_the_id_of_a_call(place):
    place.write("eventful.py", AGENT)
    place.run("run", "eventful.py", RUN)
    wrong = place.call("decide", f"{RUN}#1", "--approve")
    assert wrong.returncode == 2
    assert f"it is the tool call look. Approval requests are named {RUN}#r1" in wrong.stderr
    place.write("first.py", AGENT.replace('await ctx.call_tool("look")\n    if', "if"))
    place.run("run", "first.py", "other")
    assert place.call("decide", "other#1", "--approve").returncode == 0


def test_resume_accepts_an_id_that_looks_like_a_file_which_does_not_exist(place):
    place.write("eventful.py", AGENT)
    place.run("run", "eventful.py", "a.py")
    assert place.call("decide", "a.py#r1", "--approve").returncode == 0
    assert json.loads(place.call("resume", "a.py").stdout)["run_id"] == "a.py"


@pytest.mark.parametrize("command", ["cancel", "pause", "prune", "fork"])
def test_a_command_that_changes_a_run_takes_no_call_for_it(eventful, command):
    done = eventful.call(command, f"{RUN}#1", *(("--step", "0") if command == "fork" else ()))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "it names a tool call. Name its run: 'the run'." in done.stderr


def test_every_command_about_a_run_is_in_this_test():
    takes_run = {
        name
        for name, command in main_group.commands.items()
        if any("--run-id" in option.opts for option in command.params)
    }
    assert takes_run == {*READS, "run", "resume", "signal", "cancel", "pause", "fork", "prune"}


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("r", ("r", "run", 0)),
        ("r#3", ("r", "call", 3)),
        ("r#r3", ("r", "request", 3)),
        ("a:sub:b#r12", ("a:sub:b", "request", 12)),
        ("r#rr3", ("r#rr3", "run", 0)),
        ("r#", ("r#", "run", 0)),
        ("r#r", ("r#r", "run", 0)),
        ("r#-1", ("r#-1", "run", 0)),
        ("r#٣", ("r#٣", "run", 0)),
        ("r#3#r4", ("r#3", "request", 4)),
        ("#3", ("", "call", 3)),
        ("r#" + "9" * 30, ("r#" + "9" * 30, "run", 0)),
    ],
)
def test_an_id_is_read_in_one_way(text, parsed):
    assert parse_id(text) == parsed
    run_id, kind, number = parsed
    try:
        check_run_id(run_id, "read")
    except UsageError:
        return
    assert {"run": run_id, "call": call_id(run_id, number), "request": request_id(run_id, number)}[kind] == text
