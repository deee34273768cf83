"""Golden runs: a run that differs from its golden copy fails its test with readable differences."""

import json
import os
import subprocess
import sys
import textwrap

import pytest
from loom_runner import UsageError
from loom_runner.testing import LoomGolden
from loom_runner.testing._golden import differences

PROGRAM = """
import asyncio
from dataclasses import dataclass
from loom_runner import AgentRunner, Complete, Continue, RetryPolicy, RunContext, SQLiteStore, ToolRegistry, Wait

@dataclass(frozen=True)
class State:
    n: int = 0

tools = ToolRegistry()
PRICE = 5

@tools.tool("price", idempotent=True)
async def price(item: int) -> dict:
    return {"item": item, "price": PRICE * item}

@tools.tool("pay", needs_approval=True)
async def pay(amount: int) -> str:
    return f"paid {amount}"

async def step(state: State, ctx: RunContext) -> Continue[State] | Wait[State] | Complete[str]:
    if state.n == 0:
        prices = await asyncio.gather(*(ctx.call_tool("price", item=item) for item in (1, 2)))
        if ctx.attempt == 0:
            raise TimeoutError("slow")
        return Continue(State(sum(each["price"] for each in prices)))
    if ctx.signal is None:
        return Wait(state, signal="go", timeout_s=60)
    return Complete(await ctx.call_tool("pay", amount=state.n))

def build_runner(db_path: str) -> AgentRunner:
    return AgentRunner(step=step, store=SQLiteStore(db_path, "process"), tools=tools, retry=RetryPolicy(initial_s=0))
"""


def build(source=PROGRAM):
    space = {"__name__": "scenario"}
    exec(compile(source, "scenario.py", "exec"), space)
    return space["build_runner"], space["State"]()


def golden(tmp_path, *, is_update=False, notes=None):
    return LoomGolden(folder=tmp_path, default_name="test_x.test_it[1]", is_update=is_update, note=(notes or []).append)


ANSWERS = {"signals": {"go": None}, "decide": "approve"}


def test_a_golden_is_written_on_request_and_the_same_run_passes(tmp_path):
    program, state = build()
    with pytest.raises(
        AssertionError, match="there is no golden run .*test_x.test_it-1.run.json. Write it with pytest"
    ):
        golden(tmp_path)(program, initial_state=state, **ANSWERS)
    notes = []
    written = golden(tmp_path, is_update=True, notes=notes)(program, initial_state=state, **ANSWERS)
    assert (written.status, written.result) == ("completed", "paid 15")
    path = tmp_path / "test_x.test_it-1.run.json"
    first = path.read_bytes()
    story = json.loads(first)["story"]
    assert [step["outcome"] for step in story["steps"]] == ["continue", "wait", "complete"]
    assert [(call["key"], call["result"]) for call in story["tool_calls"]] == [
        ("price/0", {"item": 1, "price": 5}),
        ("price/1", {"item": 2, "price": 10}),
        ("pay/0", "paid 15"),
    ]
    assert [row["error"]["message"] for row in story["failed_attempts"]] == ["slow"]
    golden(tmp_path)(program, initial_state=state, **ANSWERS)
    path.unlink()
    golden(tmp_path, is_update=True)(program, initial_state=state, **ANSWERS)
    assert path.read_bytes() == first
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


def test_a_changed_run_fails_with_its_differences_and_a_page(tmp_path):
    program, state = build()
    golden(tmp_path, is_update=True)(program, "buy", initial_state=state, **ANSWERS)
    dearer, state = build(PROGRAM.replace("PRICE = 5", "PRICE = 6"))
    with pytest.raises(AssertionError) as failed:
        golden(tmp_path)(dearer, "buy", initial_state=state, **ANSWERS)
    text = str(failed.value)
    assert text.startswith(
        'buy differs from its golden run: 7 differences (golden -> now)\n  result: "paid 15" -> "paid 18"\n'
    )
    assert "  tool_calls[0].result.price: 5 -> 6\n" in text
    page = tmp_path / "buy.run.diff.html"
    assert text.endswith(f"page: {page}\naccept: pytest --update-goldens")
    assert page.read_text("utf-8").lower().startswith("<!doctype html>")
    golden(tmp_path, is_update=True)(dearer, "buy", initial_state=state, **ANSWERS)
    assert not page.exists()
    golden(tmp_path)(dearer, "buy", initial_state=state, **ANSWERS)


def test_keys_that_may_differ_are_ignored_and_a_wait_without_answer_is_part_of_the_story(tmp_path):
    program, state = build()
    golden(tmp_path, is_update=True)(program, "waits", initial_state=state)
    assert json.loads((tmp_path / "waits.run.json").read_text("utf-8"))["story"]["waits_for"] == {"signal": "go"}
    dearer, state = build(PROGRAM.replace("PRICE = 5", "PRICE = 6"))
    golden(tmp_path)(dearer, "waits", initial_state=state, ignore=("price", "n"))
    with pytest.raises(AssertionError, match="2 differences"):
        golden(tmp_path)(dearer, "waits", initial_state=state, ignore=("price",))


@pytest.mark.parametrize(
    ("text", "said"), [("{", "Expecting"), ("[]", "indices must be"), ('{"format": 9, "story": 1, "trace": 1}', "is 9")]
)
def test_a_golden_that_cannot_be_read_is_an_error(tmp_path, text, said):
    (tmp_path / "x.run.json").write_text(text, "utf-8")
    program, state = build()
    with pytest.raises(UsageError, match=said):
        golden(tmp_path)(program, "x", initial_state=state)


def test_differences_are_named_by_their_place():
    before = {"a": [1, {"b": 2}], "gone": None, "same": [1]}
    after = {"a": [1, {"b": True}, 3], "new": "x", "same": [1]}
    assert list(differences(before, after)) == [
        "a[1].b: 2 -> true",
        "a[2]: nothing -> 3",
        "gone: null -> nothing",
        'new: nothing -> "x"',
    ]


@pytest.mark.slow
def test_the_plugin_gives_the_fixture_and_loads_nothing_before(tmp_path):
    (tmp_path / "scenario.py").write_text(PROGRAM, "utf-8")
    (tmp_path / "test_buy.py").write_text(
        textwrap.dedent(
            """
            import sys

            def test_nothing_is_loaded():
                assert "loom_runner.testing" not in sys.modules and "apsw" not in sys.modules

            def test_buy(loom_golden):
                sys.path.insert(0, ".")
                from scenario import State, build_runner
                loom_golden(build_runner, initial_state=State(), signals={"go": None}, decide="approve")
            """
        ),
        "utf-8",
    )

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTEST_ADDOPTS": ""},
        )

    done = run()
    assert (done.returncode, "there is no golden run" in done.stdout) == (1, True), done.stdout
    done = run("--update-goldens")
    assert (done.returncode, "test_buy.test_buy.run.json" in done.stdout) == (0, True), done.stdout
    assert run().returncode == 0
