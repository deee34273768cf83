import json

"""The text about what a run waits for, and the next command, for every kind of wait."""

import os
from dataclasses import replace

import pytest
from loom_runner import AgentRunner, Complete
from loom_runner._model.processes import this_process
from loom_runner._model.records import ErrorInfo, ToolRecord
from loom_runner._model.waits import wait_from_json
from loom_runner._queries.hints import clock_time, module_of, next_commands, page_name, waits_for

UNTIL = "2020-01-02T03:04:05.000000+00:00"


async def step(state, ctx):
    return Complete(1)


@pytest.fixture
def run(store, go):
    go(AgentRunner(step=step, store=store).start(run_id="r", initial_state=0))
    return store.reader.get_run("r")


def doubt(number):
    owner = this_process()
    return ToolRecord(
        number, "r", 1, "pay/0", "pay", '{"n":1}', "h", "in_doubt", 1, None, None, False, 1, None, 1, False, None, owner
    )


def commands(run, *doubts):
    return next_commands(run, doubts, command="loom-runner", module="a.py", database="runs.sqlite")


@pytest.mark.parametrize(
    ("wait", "said", "what"),
    [
        ({"signal": "go", "until": None}, "signal 'go'", "signal"),
        ({"signal": "go", "until": UNTIL}, f"signal 'go' until {clock_time(UNTIL)}", "signal"),
        ({"timer": True, "until": UNTIL}, f"the time until {clock_time(UNTIL)}", "resume"),
        (
            {"children": ["r:sub:a", "r:sub:b"], "needed": 1, "programs": ["p", "p"]},
            "1 of its children r:sub:a, r:sub:b",
            "resume",
        ),
        ({"approvals": [2, 3], "until": None}, "2 approvals (r#r2, r#r3)", "decide"),
        ({"doubt": 1}, 'a decision about r#1: pay {"n":1} was interrupted in step 1', "decide"),
        ({"doubt": 9}, "nothing: r#9 was decided", "resume"),
        ({"doubt": 9, "approvals": [2]}, "nothing: r#9 was decided, and 1 approval (r#r2)", "decide"),
    ],
)
def test_every_wait_has_its_words_and_its_command(run, wait, said, what):
    waiting = replace(run, status="waiting", wait=wait_from_json(json.dumps(wait)))
    assert waits_for(waiting, [doubt(1)]) == said
    assert list(commands(waiting, doubt(1))) == [what]
    assert waits_for(run, []) is None


def test_requests_that_are_decided_are_not_waited_for(run):
    wait = wait_from_json(json.dumps({"approvals": [1, 2, 3], "until": None}))
    waiting = replace(run, status="waiting", wait=wait)

    def said(*decided):
        after = next_commands(
            waiting, [], command="loom-runner", module="a.py", database="runs.sqlite", decided=decided
        )
        return waits_for(waiting, [], decided), list(after)

    assert said(1, 3) == ("1 approval (r#r2)", ["decide"])
    assert said(1, 2, 3) == ("nothing: every approval was decided", ["resume"])


def test_the_command_fits_the_status(run, store):
    assert commands(run) == {"trace": "loom-runner trace --run-id r --html r.html"}
    assert commands(replace(run, status="failed")) == {"resume": "loom-runner resume a.py --run-id r"}
    assert commands(replace(run, status="cancelled")) == {}
    held = replace(run, status="running", owner=this_process(), lease_left_s=9.0)
    assert commands(held) == {"watch": "loom-runner watch r"}
    for name in ("steps", "tokens", "cost_usd", "time_s"):
        error = ErrorInfo("BudgetUsedUp", f"the budget of {name} 2 is used up", "limit")
        assert commands(replace(run, status="paused", error=error))["resume"].endswith(f" --budget {name}=N")
    assert module_of(store.reader, "r") is None
    assert module_of(store.reader, "nope") is None


def test_a_page_is_named_as_its_run_wherever_that_may_be(run):
    assert page_name("r") == "r.html"
    assert page_name("p:sub:a/b c") == "p-sub-a-b-c.html"
    assert os.sep not in page_name("../../etc")
