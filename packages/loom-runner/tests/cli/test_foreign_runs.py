"""Runs of other products and other agents in the same database: shown plainly, resumed by nobody
else.
"""

import asyncio
import json

import pytest
from loom_runner import AgentRunner, Complete, Continue, SQLiteStore, Wait
from loom_runner._store.sqlite.reader import SQLiteReader

READS = (
    "explain", "get", "history", "attempts", "tool-calls", "doubts", "children", "approvals", "trace", "export",
    "verify", "watch",
)  # fmt: skip
STATES = {
    "number": 7,
    "list": [1, [2]],
    "text": "plain",
    "nothing": None,
    "nested": {"conversation": {"messages": []}, "request": None},
}


async def step(state, ctx):
    return Continue(state) if ctx.step_index < 2 else Wait(state, signal="go")


async def end(state, ctx):
    return Complete(state)


@pytest.fixture
def foreign(place):
    with SQLiteStore(place.folder / "runs.sqlite", "process") as store:
        for name, state in STATES.items():
            product = AgentRunner(step=step, name="loom-run/chat", store=store)
            asyncio.run(product.start(run_id=name, initial_state=state))
            other = AgentRunner(step=end, name="somebody/else", store=store)
            asyncio.run(other.start(run_id=f"{name} too", initial_state=state))
    return place


def test_every_command_shows_a_run_of_another_product(foreign):
    for name in STATES:
        for command in READS:
            for run_id in (name, f"{name} too"):
                for output in ("text", "jsonl"):
                    arguments = ("--output", output) if (command, output) != ("export", "text") else ()
                    done = foreign.call(command, "--run-id", run_id, *arguments)
                    assert done.returncode in (0, 3), (command, run_id, done.stderr)
                    assert "Error" not in done.stderr


def test_resume_names_the_product_that_resumes_it(foreign):
    command = "loom-run resume --run-id number --db runs.sqlite"
    for words in ((), ("agent.py",)):
        done = foreign.run("resume", *words, "--run-id", "number")
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert command in done.stderr
    assert json.loads(foreign.call("explain", "number").stdout)["next"] == {
        "signal": "loom-runner signal go --run-id number --payload JSON"
    }
    assert "Give MODULE, the file or the module of that agent." in foreign.call("resume", "number too").stderr


def test_resume_without_a_module_reads_the_row_once(place, monkeypatch):
    place.call("run", "agent.py", "--run-id", "r", "--max-steps", "1")
    reads = []
    read = SQLiteReader.get_run

    def counted(self, run_id):
        reads.append(run_id)
        return read(self, run_id)

    def loaded(_):
        raise RuntimeError(f"loaded after {len(reads)} reads")

    monkeypatch.setattr(SQLiteReader, "get_run", counted)
    monkeypatch.setattr("loom_runner._cli.agent_module.load_module", loaded)
    assert "loaded after 1 reads" in place.call("resume", "--run-id", "r").stderr
