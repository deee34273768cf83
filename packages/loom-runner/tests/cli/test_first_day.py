"""Mistakes of a first day with the command, and that its advice works as printed."""

from __future__ import annotations

import pytest

COUNTS = """
from dataclasses import dataclass
from loom_runner import Agent, Complete, Continue, RunContext

@dataclass
class State:
    {field}: int = 0

async def step(state: State, ctx: RunContext) -> Continue[State] | Complete[int]:
    return Continue(State(state.{field} + 1)) if state.{field} < 4 else Complete(state.{field})

def initial_state():
    return State()
"""


def refused(place, text, *parts, name="mod.py"):
    place.write("mod.py", text)
    done = place.call("run", name, "r", "--output", "text")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    for part in parts:
        assert part in done.stderr, done.stderr


def test_advice_about_changed_states_works_as_printed(place):
    place.write("counts.py", COUNTS.format(field="total"))
    assert place.call("run", "counts.py", "r", "--max-steps", "2").returncode == 0
    renamed = COUNTS.format(field="sum")
    place.write("counts.py", renamed)
    done = place.call("resume", "counts.py", "r")
    assert "pass state_version=2, upcasters={1: convert} to Agent or AgentRunner" in done.stderr
    upgrade = """
def convert(old):
    return {"sum": old["total"]}

agent = Agent(step=step, state_version=2, upcasters={1: convert})
"""
    place.write("counts.py", renamed + upgrade)
    assert place.call("verify", "counts.py", "r").returncode == 0
    assert place.call("resume", "counts.py", "r", "--max-steps", "1").returncode == 0
    done = place.call("resume", "counts.py:agent", "r", "--output", "text")
    assert (done.returncode, "result  4" in done.stdout) == (0, True)


def test_verify_finds_what_resume_refuses(place):
    place.write("counts.py", COUNTS.format(field="total"))
    place.call("run", "counts.py", "r", "--max-steps", "2")
    place.write("counts.py", COUNTS.format(field="sum"))
    assert place.call("verify", "counts.py", "r").returncode == 1


def test_a_new_field_is_told_to_have_a_default(place):
    place.write("counts.py", COUNTS.format(field="total"))
    place.call("run", "counts.py", "r", "--max-steps", "2")
    place.write(
        "counts.py", COUNTS.format(field="total").replace("    total: int = 0", "    name: str\n    total: int = 0")
    )
    assert "give new fields defaults, restore" in place.call("resume", "counts.py", "r").stderr


def test_a_wrong_patch_is_not_blamed_on_the_code_alone(place):
    place.write("counts.py", COUNTS.format(field="total"))
    place.call("run", "counts.py", "r")
    done = place.call("fork", "counts.py", "r", "--step", "1", "--patch", '{"totl": 3}')
    assert (done.returncode, "The code has changed" in done.stderr) == (1, False)
    assert "Correct the patch." in done.stderr
    assert place.call("fork", "r", "--step", "1", "--patch", '{"totl": 3}').returncode == 0
    assert "If --patch changed the state of this fork" in place.call("resume", "r-fork-1").stderr


def test_a_refusal_of_the_compiler_is_one_line_with_the_users_place(place):
    refused(
        place,
        "from loom import tailrec\n@tailrec\nasync def agent(n: int) -> int:\n    return 1 + await agent(n - 1)\n",
        "cannot load mod.py: LT011: cannot compile 'agent': it calls itself outside tail position (mod.py:4). Carry ",
        "return the call itself",
        name="mod.py:agent",
    )


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("x = 1", ["it has no build_runner(db_path), no agent = Agent(...) and no step", "(there: no function)"]),
        (
            "def build_runner():\n    return 1",
            ["build_runner() raised TypeError: build_runner() takes 0 positional arguments but 1 was given."],
        ),
        (
            "from loom_runner import *\n@ToolRegistry().tool\ndef add(n): ...",
            ["UsageError: cannot declare tool 'add': its name is a function. Write @tools.tool(\"add\") (mod.py:2)."],
        ),
        (
            "from loom_runner import *\n@ToolRegistry().tool('add', timeout_s='5')\ndef add(n): ...",
            ["timeout_s is '5'. Pass a number of seconds above 0 and up to 100 years, or a timedelta (mod.py:2)."],
        ),
        ("def build_runner(db):\n    return 1", ["build_runner returned an int. Return an AgentRunner."]),
        (
            "async def step(state, ctx): ...\nasync def initial_state(): ...",
            ["initial_state() is async. Make it a plain function"],
        ),
    ],
)
def test_a_module_that_cannot_be_run_is_told_what_to_change(place, text, parts):
    refused(place, text, *parts)


def test_a_module_in_place_of_a_run_is_noticed(place):
    place.call("run", "agent.py", "r")
    done = place.call("verify", "agent.py")
    assert "It is a module: name the run after it, agent.py RUN." in done.stderr


def test_a_cancelled_run_was_cancelled(place):
    place.write("counts.py", COUNTS.format(field="total"))
    place.call("run", "counts.py", "r", "--max-steps", "1")
    place.call("cancel", "r")
    assert "r was cancelled before; this is the stored result." in place.call("resume", "r").stderr


def test_a_signal_of_another_name_than_the_run_waits_for_is_noticed(place):
    place.write(
        "waits.py",
        """
        from loom_runner import Complete, Wait

        async def step(state, ctx):
            return Wait(state, signal="go") if ctx.signal is None else Complete(ctx.signal.payload)
        """,
    )
    place.call("run", "waits.py", "w", "--input", "{}")
    assert place.call("signal", "Go", "w").stderr.startswith("sent to w, which waits for signal 'go'. ")
    assert place.call("signal", "go", "w").stderr.startswith("sent to w. resume: ")
