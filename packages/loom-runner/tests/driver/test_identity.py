"""A run is driven by the agent that its row names, and by no other."""

import asyncio
import os
import subprocess
import sys
from dataclasses import dataclass

import pytest
from loom_runner import (
    Agent,
    AgentRunner,
    Child,
    Complete,
    Continue,
    LocalEngine,
    Sleep,
    Spawn,
    SQLiteStore,
    Tool,
    ToolRegistry,
    UsageError,
    Worker,
)
from loom_runner.errors import RunExists
from loom_runner.testing import FakeClock

MODULE = """
from loom_runner import AgentRunner, Complete, Continue, SQLiteStore

async def step(state, ctx):
    with open("effects.txt", "a") as file:
        file.write("{name}\\n")
    return Complete("{name}") if state else Continue(1)

def initial_state():
    return 0

def build_runner(db_path):
    return AgentRunner(step=step, store=SQLiteStore(db_path, "process"))
"""


@dataclass
class State:
    n: int = 0


async def charge(state: State, ctx) -> Sleep[State] | Complete[str]:
    return Complete("charged") if state.n else Sleep(State(1), delay_s=5)


async def delete(state: State, ctx) -> Complete[str]:
    return Complete("deleted")


async def renamed(state: State, ctx) -> Complete[str]:
    return Complete("charged, renamed")


def program_of(store, run_id="r"):
    return store.reader.get_run(run_id).program


def set_program(store, name, run_id="r"):
    """The row of a run that an earlier version wrote."""
    store._file.db.execute("UPDATE runs SET program = ? WHERE run_id = ?", (name, run_id))


# ------------------------------------------------------------------ names


def test_an_agent_is_named_by_its_module_and_function():
    assert Agent(step=charge).name.rpartition(".")[2] == "test_identity:charge"
    assert Agent("billing", step=charge).name == "billing"
    assert Agent(step=charge).unqualified_name == "charge"


@pytest.mark.parametrize("name", ["", " ", "a\nb", " a"])
def test_a_name_that_cannot_be_printed_or_distinguished_is_refused(name):
    with pytest.raises(UsageError, match="cannot define an agent named"):
        Agent(name, step=charge)
    with pytest.raises(UsageError, match="cannot define an agent named"):
        Agent(step=charge, aliases=[name])


def test_one_text_is_not_a_sequence_of_aliases():
    with pytest.raises(UsageError, match=r"aliases is a sequence of names, for instance \('old',\)"):
        Agent(step=charge, aliases="old")


@pytest.mark.parametrize("file", ["billing.py", "my-agent.py"])
def test_a_file_names_its_agents_the_same_whether_it_is_run_loaded_or_imported(tmp_path, file):
    (tmp_path / file).write_text(
        "from loom_runner import Agent\nasync def step(state, ctx): ...\nif __name__ == '__main__':\n"
        "    print(Agent(step=step).name)\n"
    )
    run = subprocess.run([sys.executable, file], cwd=tmp_path, capture_output=True, text=True, check=True)
    load = f"from loom_runner._cli.agent_module import load_module; from loom_runner import Agent; print(Agent(step=load_module({file!r}).module.step).name)"
    loaded = subprocess.run([sys.executable, "-c", load], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout == loaded.stdout == f"{file.removesuffix('.py')}:step\n"


def test_a_module_that_is_run_by_its_name_keeps_its_name(tmp_path):
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    (tmp_path / "shop" / "billing.py").write_text(
        "from loom_runner import Agent\nasync def step(state, ctx): ...\nprint(Agent(step=step).name)\n"
    )
    for command in (["-m", "shop.billing"], ["-c", "import shop.billing"]):
        run = subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert run.stdout == "shop.billing:step\n"


# -------------------------------------------------------------- two programs with one function name


def test_two_modules_with_a_step_of_the_same_name_do_not_run_each_others_runs(place):
    for name in ("billing", "cleanup"):
        (place.folder / f"{name}.py").write_text(MODULE.format(name=name))
    assert place.run("run", "billing.py", "--run-id", "b", "--max-steps", "1").returncode == 0
    assert place.run("run", "cleanup.py", "--run-id", "c", "--max-steps", "1").returncode == 0

    refused = place.run("resume", "cleanup.py", "--run-id", "b")
    assert refused.returncode == 2
    assert "is a run of program 'billing:step', last driven from billing.py" in refused.stderr
    assert "aliases=('billing:step',)" in refused.stderr
    assert "\n" not in refused.stderr.strip()

    with SQLiteStore(place.folder / "runs.sqlite", "process") as store:  # as if both had been interrupted
        store._file.db.execute("UPDATE leases SET ended_as = 'interrupted'")
        store._file.db.execute("UPDATE runs SET ready_at = 0")
    assert place.run("worker", "cleanup.py", "--until-idle").returncode == 0
    with SQLiteStore(place.folder / "runs.sqlite", "process") as store:
        assert store.reader.get_run("b").status == "paused"
        assert store.reader.get_run("c").status == "completed"
    assert (place.folder / "effects.txt").read_text().split() == ["billing", "cleanup", "cleanup"]
    assert place.run("resume", "--run-id", "b").returncode == 0  # with the module that drove it last
    assert (place.folder / "effects.txt").read_text().split()[-1] == "billing"


def test_two_agents_of_one_name_in_a_worker_are_refused(store, clock):
    engine = LocalEngine(store, clock=clock)
    one, two = Agent("agent", step=charge), Agent("agent", step=delete)
    worker = Worker(AgentRunner.of(one, engine), AgentRunner.of(two, engine), clock=clock)
    with pytest.raises(UsageError, match=r"two agents named 'agent' in one worker: test_identity.py:\d+ and"):
        asyncio.run(worker.run(until_idle=True))


def test_an_alias_that_is_the_name_of_another_agent_is_refused(store, clock):
    engine = LocalEngine(store, clock=clock)
    one, two = Agent("new", step=charge, aliases=["old"]), Agent("old", step=delete)
    worker = Worker(AgentRunner.of(one, engine), AgentRunner.of(two, engine), clock=clock)
    with pytest.raises(UsageError, match="two agents named 'old'"):
        asyncio.run(worker.run(until_idle=True))


def test_two_closures_of_one_factory_among_the_children_are_refused_by_name(store, clock):
    def made(text):
        async def step(state: State, ctx) -> Complete[str]:
            return Complete(text)

        return Agent(step=step)

    async def parent(state: State, ctx) -> Spawn[State] | Complete[str]:
        return Spawn(state, [Child("a", State(), program="a"), Child("b", State(), program="b")])

    runner = AgentRunner(step=parent, store=store, clock=clock, children={"a": made("a"), "b": made("b")})
    result = asyncio.run(runner.start(run_id="r", initial_state=State()))
    assert result.status == "failed"
    assert "cannot use two agents named" in result.error.message
    assert "Agent(name=...)" in result.error.message
    assert store.reader.children("r") == []


def test_children_of_one_factory_run_each_by_its_own_code_when_they_are_named(store, clock):
    def made(text):
        async def step(state: State, ctx) -> Complete[str]:
            return Complete(text)

        return Agent(text, step=step)

    async def parent(state: State, ctx) -> Spawn[State] | Complete[list[str]]:
        if ctx.children:
            return Complete([ctx.children[name].result for name in "ab"])
        return Spawn(state, [Child("a", State(), program="a"), Child("b", State(), program="b")])

    runner = AgentRunner(step=parent, store=store, clock=clock, children={"a": made("one"), "b": made("two")})
    result = asyncio.run(runner.start(run_id="r", initial_state=State()))
    assert result.result == ["one", "two"]
    assert [program_of(store, f"r:sub:{name}") for name in "ab"] == ["one", "two"]


def test_a_run_of_a_program_that_is_not_at_hand_is_listed_and_not_run(store, clock):
    runner = AgentRunner(step=charge, store=store, clock=clock)
    asyncio.run(runner.start(run_id="r", initial_state=State()))
    set_program(store, "another:program")
    clock.at_us += 60_000_000
    assert asyncio.run(Worker(runner, clock=clock).run(until_idle=True)) == 0
    assert [run["program"] for run in runner.list()] == ["another:program"]
    with pytest.raises(UsageError, match="is a run of program 'another:program'"):
        asyncio.run(runner.resume(run_id="r"))
    with pytest.raises(RunExists, match="of another program, 'another:program'"):
        asyncio.run(runner.start(run_id="r", initial_state=State()))


# ------------------------------------------------------------------ renames


def test_an_alias_lets_a_renamed_agent_resume_its_runs_which_get_the_new_name(store, clock):
    asyncio.run(AgentRunner(step=charge, store=store, clock=clock).start(run_id="r", initial_state=State()))
    clock.at_us += 60_000_000
    with pytest.raises(UsageError, match="aliases="):
        asyncio.run(AgentRunner(step=renamed, store=store, clock=clock).resume(run_id="r"))
    old = program_of(store)
    new = AgentRunner(step=renamed, store=store, clock=clock, name="charging", aliases=[old])
    assert asyncio.run(new.start(run_id="r", initial_state=State())).result == "charged, renamed"
    assert program_of(store) == "charging"


def test_a_worker_takes_up_the_runs_of_an_alias(store, clock):
    asyncio.run(AgentRunner(step=charge, store=store, clock=clock, name="old").start(run_id="r", initial_state=State()))
    clock.at_us += 60_000_000
    runner = AgentRunner(step=charge, store=store, clock=clock, name="new", aliases=["older", "old"])
    assert asyncio.run(Worker(runner, clock=clock).run(until_idle=True)) == 1
    assert (program_of(store), store.reader.get_run("r").status) == ("new", "completed")


# ------------------------------------------------------------------ rows of earlier versions


def test_a_bare_old_name_is_resumed_by_its_module_only_and_renamed(store, clock):
    runner = AgentRunner(step=charge, store=store, clock=clock)
    asyncio.run(runner.start(run_id="r", initial_state=State()))
    set_program(store, "charge")
    clock.at_us += 60_000_000
    assert asyncio.run(Worker(runner, clock=clock).run(until_idle=True)) == 0
    assert program_of(store) == "charge"
    assert asyncio.run(runner.resume(run_id="r")).result == "charged"
    assert program_of(store) == runner.agent.name


def test_a_bare_old_name_that_was_driven_from_another_file_is_refused(store, clock):
    runner = AgentRunner(step=charge, store=store, clock=clock)
    asyncio.run(runner.start(run_id="r", initial_state=State()))
    set_program(store, "charge")
    store._file.db.execute("UPDATE leases SET code_at = 'billing.py:5'")
    clock.at_us += 60_000_000
    with pytest.raises(UsageError, match=r"program 'charge', last driven from billing.py:5, and this is"):
        asyncio.run(runner.resume(run_id="r"))
    with pytest.raises(UsageError, match=r"Say in which file it was: aliases=\('FILE:charge',\)"):
        Agent(step=charge, aliases=["charge"])
    adopted = AgentRunner(step=charge, store=store, clock=clock, aliases=["billing:charge"])
    assert asyncio.run(Worker(adopted, clock=clock).run(until_idle=True)) == 0
    assert asyncio.run(adopted.resume(run_id="r")).result == "charged"


def test_children_of_bare_old_names_are_found_through_their_parent(store):
    clock = FakeClock()

    async def parent(state: State, ctx) -> Spawn[State] | Complete[str]:
        if ctx.children:
            return Complete(ctx.children["a"].result)
        return Spawn(state, [Child("a", State(), program="charge")])

    child = AgentRunner(step=charge, store=store, clock=clock)
    runner = AgentRunner(step=parent, store=store, clock=clock, children={"charge": child})
    asyncio.run(runner.start(run_id="r", initial_state=State()))
    set_program(store, runner.agent.unqualified_name)
    set_program(store, "charge", "r:sub:a")
    store._file.db.execute("UPDATE leases SET code_at = 'moved_since.py:5' WHERE run_key = 2")
    clock.at_us += 60_000_000
    assert asyncio.run(runner.resume(run_id="r")).result == "charged"
    assert program_of(store, "r:sub:a") == child.agent.name


def test_continue_is_still_a_continue(store, clock):
    """The engine is given the agent at each call: another agent of the same engine cannot take the
    run over.
    """
    engine = LocalEngine(store, clock=clock)
    seen = []

    async def count(state: State, ctx) -> Continue[State] | Complete[int]:
        seen.append(state.n)
        return Complete(state.n) if state.n == 2 else Continue(State(state.n + 1))

    one, two = Agent("one", step=count), Agent("two", step=delete)
    asyncio.run(engine.start(one, run_id="r", initial_state=State(), max_steps=1))
    with pytest.raises(UsageError, match="'two'"):
        asyncio.run(engine.resume(two, run_id="r"))
    assert asyncio.run(engine.resume(one, run_id="r")).result == 2
    assert seen == [0, 1, 2]


def test_a_bare_old_child_is_resumed_by_its_own_agent_only(store, clock):
    async def parent(state: State, ctx) -> Spawn[State] | Complete[str]:
        return Spawn(state, [Child("a", State(), program="worker")])

    child = Agent("worker", step=charge)
    lead = Agent("lead", step=parent, children={"worker": child})
    engine = LocalEngine(store, clock=clock)
    asyncio.run(engine.start(lead, run_id="r", initial_state=State()))
    set_program(store, "charge", "r:sub:a")
    clock.at_us += 60_000_000
    for stranger in (Agent("stranger", step=charge), Agent("another lead", step=parent, children={"worker": child})):
        with pytest.raises(UsageError, match="its own module, or its parent 'r'"):
            asyncio.run(engine.resume(stranger, run_id="r:sub:a"))
    assert program_of(store, "r:sub:a") == "charge"
    assert asyncio.run(engine.resume(lead, run_id="r:sub:a")).result == "charged"
    assert program_of(store, "r:sub:a") == "worker"


def test_a_fork_of_a_bare_old_run_belongs_to_the_file_of_the_run_that_it_is_a_fork_of(store, clock):
    runner = AgentRunner(step=charge, store=store, clock=clock)
    asyncio.run(runner.start(run_id="r", initial_state=State()))
    asyncio.run(runner.fork(run_id="r", new_run_id="f", step=0))
    for run_id in "rf":
        set_program(store, "charge", run_id)
    store._file.db.execute("UPDATE leases SET code_at = 'billing.py:5'")
    clock.at_us += 60_000_000
    with pytest.raises(UsageError, match="it is a run of program 'charge'"):
        asyncio.run(runner.resume(run_id="f"))
    store._file.db.execute("UPDATE leases SET code_at = '_test_identity.py:5'")  # as files were named earlier
    assert asyncio.run(runner.resume(run_id="f")).result == "charged"


# ------------------------------------------------------------------ one name, two programs


def test_two_agents_of_one_function_that_may_do_different_things_do_not_share_a_name(store, clock):
    safe, dangerous = ToolRegistry(), ToolRegistry()
    dangerous.add(Tool(name="delete", function=lambda: None))
    engine = LocalEngine(store, clock=clock)
    agents = [
        Agent("safe", step=charge, tools=safe),
        Agent("dangerous", step=charge, tools=dangerous, aliases=("safe",)),
    ]
    worker = Worker(*(AgentRunner.of(agent, engine) for agent in agents), clock=clock)
    with pytest.raises(UsageError, match="two agents named 'safe'"):
        asyncio.run(worker.run(until_idle=True))


def test_an_agent_that_is_built_twice_is_one_program(store, clock):
    def build(text="a"):
        async def step(state: State, ctx) -> Complete[str]:
            return Complete(text)

        return Agent("built", step=step, tools=ToolRegistry())

    engine = LocalEngine(store, clock=clock)
    runners = [AgentRunner.of(Agent(f"lead {n}", step=charge, children={"kid": build}), engine) for n in (1, 2)]
    runners += [AgentRunner.of(build(), engine) for _ in range(2)]
    assert asyncio.run(Worker(*runners, clock=clock).run(until_idle=True)) == 0
    worker = Worker(*(AgentRunner.of(build(text), engine) for text in "ab"), clock=clock)
    with pytest.raises(UsageError, match="two agents named 'built'"):
        asyncio.run(worker.run(until_idle=True))


def test_an_agent_whose_children_are_agents_like_it(store, clock):
    async def halve(state: State, ctx) -> Spawn[State] | Complete[int]:
        if ctx.children or state.n < 2:
            return Complete(1 + sum(child.result for child in ctx.children.values()))
        return Spawn(state, [Child(name, State(state.n // 2), program="half") for name in "ab"])

    def build():
        return AgentRunner(name="halves", step=halve, store=store, clock=clock, children={"half": build})

    result = asyncio.run(asyncio.wait_for(build().start(run_id="r", initial_state=State(4)), 30))
    assert result.result == 7
    with pytest.raises(UsageError, match="run of program 'halves'"):
        asyncio.run(AgentRunner(step=charge, store=store, clock=clock).resume(run_id="r"))
    set_program(store, "another:program")
    with pytest.raises(UsageError, match="run of program 'another:program'"):
        asyncio.run(asyncio.wait_for(build().resume(run_id="r"), 30))
    assert asyncio.run(asyncio.wait_for(Worker(build(), clock=clock).run(until_idle=True), 30)) == 0


def test_two_files_of_one_name_in_two_folders_do_not_run_each_others_runs(place):
    for name in ("billing", "cleanup"):
        (place.folder / name).mkdir()
        (place.folder / name / "agent.py").write_text(MODULE.format(name=name))
    assert place.run("run", "billing/agent.py", "--run-id", "b", "--max-steps", "1").returncode == 0
    refused = place.run("resume", "cleanup/agent.py", "--run-id", "b")
    assert refused.returncode == 2
    assert "last driven from billing/agent.py, and this is 'agent:step' of cleanup/agent.py" in refused.stderr
    with SQLiteStore(place.folder / "runs.sqlite", "process") as store:
        store._file.db.execute("UPDATE leases SET ended_as = 'interrupted'")
    assert place.run("worker", "cleanup/agent.py", "--until-idle").returncode == 0
    assert (place.folder / "effects.txt").read_text().split() == ["billing"]
    (place.folder / "billing").rename(place.folder / "invoices")
    assert place.run("resume", "invoices/agent.py", "--run-id", "b").returncode == 0


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (["prof.py"], "prof:step"),
        (["-m", "cProfile", "-o", "out", "prof.py"], "prof:step"),
        (["-c", "import runpy; runpy.run_path('prof.py', run_name='<run_path>')"], "prof:step"),
        (["-c", "import prof"], "prof:step"),
        (["pkg/mod.py"], "pkg.mod:step"),
        (["-m", "pkg.mod"], "pkg.mod:step"),
        (["-c", "import pkg.mod"], "pkg.mod:step"),
        (["-c", "from loom_runner._cli.agent_module import load_module; load_module('pkg/mod.py')"], "pkg.mod:step"),
    ],
)
def test_the_name_does_not_depend_on_how_the_module_is_started(tmp_path, start, name):
    text = (
        "from functools import partial\nfrom loom_runner import Agent\nasync def step(state, ctx): ...\n"
        "print(Agent(step=step).name, Agent(step=partial(step)).name, Agent(step=partial(step)).program.code_at)\n"
    )
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").touch()
    for file in ("prof.py", "pkg/mod.py"):
        (tmp_path / file).write_text(text)
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, *start], cwd=tmp_path, capture_output=True, text=True, check=True, env=env)
    file = name.partition(":")[0].rpartition(".")[2]
    assert done.stdout == f"{name} {name} {file}.py:3\n"


def test_starting_a_renamed_agent_names_the_alias_that_is_missing(store, clock):
    asyncio.run(AgentRunner(step=charge, store=store, clock=clock).start(run_id="r", initial_state=State()))
    for verb in ("start", "enqueue"):
        with pytest.raises(RunExists, match=f"cannot {verb} 'r': .* aliases=\\('.*test_identity:charge',\\)"):
            runner = AgentRunner(step=renamed, store=store, clock=clock)
            asyncio.run(getattr(runner, verb)(run_id="r", initial_state=State()))


@pytest.mark.parametrize(
    "arguments",
    [{"name": 5}, {"name": "x" * 201}, {"aliases": None}, {"aliases": ["a", 5]}, {"step": "s"}, {"step": int}],
)
def test_an_agent_of_the_wrong_types_is_refused(arguments):
    with pytest.raises(UsageError, match="cannot define an agent"):
        Agent(**{"step": charge, **arguments})
