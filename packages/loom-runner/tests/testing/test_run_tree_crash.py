"""A parent and its children in separate processes, killed with SIGKILL at every kind of place.

Effects are lines of a file outside the database.
"""

import json
from collections import Counter

import pytest

HOUSE = """
import asyncio, os, signal, time
from dataclasses import dataclass
from pathlib import Path
from loom_runner import AgentRunner, Child, Complete, Continue, RunContext, Spawn, SQLiteStore, ToolRegistry

HERE = Path(__file__).parent
tools = ToolRegistry()


def effect(text):
    with (HERE / "effects.txt").open("a") as file:
        file.write(text + "\\n")


def die_at(place):
    mark = HERE / ("died-" + place.replace("/", "_"))
    if os.environ.get("DIE_AT") == place and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class State:
    n: int = 0


@tools.tool("charge", idempotent=True)
async def charge(n: int, idempotency_key: str) -> str:
    effect(f"charge {idempotency_key}")
    die_at(f"{idempotency_key}")
    return f"receipt {n}"


async def small(state: State, ctx: RunContext) -> Continue[State] | Complete[str]:
    name = ctx.run_id.rpartition(":")[2]
    die_at(f"{name}-{state.n}")
    if name == "slow" and os.environ.get("BLOCK"):
        (HERE / "reached").touch()
        while not (HERE / "open").exists():
            await asyncio.sleep(0.005)
    await ctx.call_tool("charge", n=state.n)
    return Complete(f"{name} done") if state.n == 2 else Continue(State(state.n + 1))


async def parent(state: State, ctx: RunContext) -> Spawn[State] | Complete[dict]:
    if state.n == 0:
        die_at("before-spawn")
        names = ("a", "b", "slow") if os.environ.get("BLOCK") else ("a", "b")
        return Spawn(State(1), [Child(name, State(), program="small") for name in names])
    die_at("after-children")
    return Complete({name: child.result for name, child in ctx.children.items()})


def initial_state():
    return State()


def build_runner(db_path):
    store = SQLiteStore(db_path, "process")

    def after(event):
        if event.kind == "step_committed":
            die_at(f"after {event.run_id} {event.step_index}")

    child = AgentRunner(step=small, store=store, tools=tools)
    return AgentRunner(step=parent, store=store, children={"small": child}, observers=[after])
"""

RUN = ("run", "house.py", "--run-id", "r", "--output", "json")


@pytest.fixture
def house(place):
    place.write("house.py", HOUSE)
    return place


@pytest.mark.parametrize(
    "where",
    ["after r 0", "a-0", "r:sub:a/1/charge/0", "after r:sub:b 2", "after-children"],
)
def test_a_family_that_is_killed_ends_with_every_child_run_once(house, where):
    house.killed(*RUN, DIE_AT=where)
    done = house.run(*RUN)
    assert done.returncode == 0, done.stderr
    view = json.loads(done.stdout)
    assert (view["status"], view["result"]) == ("completed", {"a": "a done", "b": "b done"})
    effects = house.effects()
    assert set(effects) == {f"charge r:sub:{name}/{n}/charge/0" for name in "ab" for n in range(3)}
    repeated = {effect for effect in effects if effects.count(effect) > 1}
    # Only a call that was interrupted before its end was recorded may be repeated, with its key.
    assert repeated == ({f"charge {where}"} if where.startswith("r:sub") else set())
    listed = json.loads(house.run("list", "--output", "json").stdout)
    assert {run["run_id"]: run["status"] for run in listed} == dict.fromkeys(("r", "r:sub:a", "r:sub:b"), "completed")


def test_a_second_process_continues_when_the_first_was_killed_between_its_children(house):
    first = house.spawn(*RUN, BLOCK="1")
    house.wait_for("reached", first)
    first.kill()
    first.communicate()
    (house.folder / "open").touch()
    done = house.run(*RUN, BLOCK="1")
    assert json.loads(done.stdout)["result"] == {"a": "a done", "b": "b done", "slow": "slow done"}
    assert len(set(house.effects())) == 9


def test_cancelling_from_another_process_stops_a_family(house):
    first = house.spawn(*RUN, BLOCK="1")
    house.wait_for("reached", first)
    cancelled = house.run("cancel", "r")
    assert cancelled.returncode == 0, cancelled.stderr
    (house.folder / "open").touch()
    first.communicate(timeout=30)
    listed = json.loads(house.run("list", "--output", "json").stdout)
    assert {run["run_id"]: run["status"] for run in listed}["r"] == "cancelled"
    assert {run["run_id"]: run["status"] for run in listed}["r:sub:slow"] == "cancelled"
    assert "charge r:sub:slow/1/charge/0" not in house.effects()


CROWD = """
import asyncio
from pathlib import Path
from loom_runner import AgentRunner, Child, Complete, Continue, RunContext, Spawn, SQLiteStore, ToolRegistry, Wait

HERE = Path(__file__).parent
tools = ToolRegistry()


@tools.tool("charge", idempotent=True)
async def charge(idempotency_key: str) -> None:
    with (HERE / "effects.txt").open("a") as file:
        file.write(idempotency_key + "\\n")
    await asyncio.sleep(0.002)


async def small(n: int, ctx: RunContext) -> Continue[int] | Complete[int]:
    await ctx.call_tool("charge")
    return Complete(n) if n == 3 else Continue(n + 1)


async def parent(n: int, ctx: RunContext) -> Wait[int] | Spawn[int] | Complete[int]:
    if n == 0:
        return Wait(1, "go")
    if n == 1:
        return Spawn(2, [Child(name, 0, program="small") for name in "abc"])
    return Complete(sum(child.result for child in ctx.children.values()))


def build_runner(db_path):
    store = SQLiteStore(db_path, "process")
    return AgentRunner(step=parent, store=store, children={"small": AgentRunner(step=small, store=store, tools=tools)})


def initial_state():
    return 0
"""


def test_workers_that_race_and_are_killed_end_every_run_once(place):
    place.write("crowd.py", CROWD)
    names = [f"p{number}" for number in range(8)]
    for name in names:
        assert place.call("run", "crowd.py", "--run-id", name, "--output", "json").returncode == 3
        assert place.call("signal", "go", "--run-id", name).returncode == 0
    work = ("worker", "crowd.py", "--until-idle", "--output", "json")
    workers = [place.spawn(*work) for _ in range(3)]
    place.wait_for("effects.txt", workers[0])
    workers[0].kill()
    for worker in workers:
        worker.communicate(timeout=60)
    assert place.run(*work).returncode == 0
    listed = json.loads(place.run("list", "--limit", "100", "--output", "json").stdout)
    assert Counter(run["status"] for run in listed) == {"completed": 8 + 8 * 3}
    assert {run["run_id"]: run["result"] for run in listed if run["run_id"] in names} == dict.fromkeys(names, 9)
    effects = Counter(place.effects())
    assert set(effects) == {f"{name}:sub:{child}/{n}/charge/0" for name in names for child in "abc" for n in range(4)}
    calls = [json.loads(place.call("tool-calls", run["run_id"], "--output", "json").stdout) for run in listed]
    tries = {f"{call['run_id']}/{call['step_index']}/{call['key']}": call["tries"] for rows in calls for call in rows}
    assert all(count <= tries[key] for key, count in effects.items())
