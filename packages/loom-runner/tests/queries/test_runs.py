"""`Runs`: wrong arguments. What it returns is tested with the engines that create the runs."""

import pytest
from loom_runner import (
    AgentRunner,
    Complete,
    Continue,
    LocalEngine,
    Runs,
    SQLiteStore,
    ToolRegistry,
    UnknownRun,
    UsageError,
)

BY_ID = ["get", "find", "history", "attempts", "tool_calls", "doubts", "approvals", "children", "explain"]


async def step(state, ctx):
    await ctx.call_tool("note")
    return Complete(state) if state else Continue(1)


@pytest.fixture
def runs(go):
    store = SQLiteStore(":memory:")
    tools = ToolRegistry()

    @tools.tool("note", idempotent=True)
    async def note():
        return None

    go(AgentRunner(step=step, store=store, tools=tools).start(run_id="r", initial_state=0))
    return Runs(store)


@pytest.mark.parametrize("ask", [name for name in BY_ID if name != "find"])
@pytest.mark.parametrize("run_id", ["nosuch", "", "caf\udce9", "a\0b"])
def test_a_question_about_an_unknown_run_is_refused(runs, ask, run_id):
    with pytest.raises(UnknownRun, match="there is no such run"):
        getattr(runs, ask)(run_id)
    assert runs.find(run_id) is None


@pytest.mark.parametrize("ask", BY_ID)
@pytest.mark.parametrize("run_id", [None, 5, b"r", ["r"]])
def test_a_run_id_that_is_no_text_is_refused(runs, ask, run_id):
    if run_id is None and ask in ("doubts", "approvals"):
        assert getattr(runs, ask)(run_id) == []
        return
    with pytest.raises(UsageError, match="a run id is a string"):
        getattr(runs, ask)(run_id)


@pytest.mark.parametrize("value", [-1, "x", "1", None, 1.5, True, 10**30])
@pytest.mark.parametrize(
    ("ask", "name"),
    [("list", "limit"), ("history", "first"), ("history", "limit"), ("attempts", "first"), ("attempts", "limit")],
)
def test_a_number_out_of_range_is_refused(runs, ask, name, value):
    arguments = () if ask == "list" else ("r",)
    with pytest.raises(UsageError, match=rf"with {name}=.*it is a whole number from 0 to 1,000,000,000,000,000"):
        getattr(runs, ask)(*arguments, **{name: value})


def test_a_page_is_as_long_as_its_limit(runs):
    assert [len(runs.history("r", limit=limit)) for limit in (0, 1, 2, 10**15)] == [0, 1, 2, 2]
    assert [step["step_index"] for step in runs.history("r", first=1)] == [1]
    assert [len(runs.list(limit=limit)) for limit in (0, 1, 10**15)] == [0, 1, 1]


@pytest.mark.parametrize("store", [None, "runs.sqlite", 5, LocalEngine])
def test_what_is_not_a_store_is_refused(store):
    with pytest.raises(UsageError, match="Pass an open store, for instance open_store"):
        Runs(store)
