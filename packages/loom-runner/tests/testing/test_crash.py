"""Real processes that are killed. Effects are counted in a file outside the database."""

import asyncio
import json
import os
import signal
import time

import pytest
from loom_runner import SQLiteStore
from loom_runner._model.records import Owner
from loom_runner._model.writes import LeaseRequest

LATE = LeaseRequest(Owner("elsewhere", 5, "born"), 15.0, "code", "agent.py:1")
RUN = ("run", "agent.py", "--run-id", "r")
RESUME = ("resume", "agent.py", "--run-id", "r")


def result_of(done):
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
    return json.loads(done.stdout)


def rows(place, what):
    return json.loads(place.run(what, "r").stdout)


@pytest.mark.parametrize("at", ["step-2", "after-commit-1", "tool-2-before-effect", "before-commit-2"])
def test_a_process_that_dies_anywhere_loses_no_committed_step_and_repeats_no_recorded_call(place, at):
    place.killed(*RUN, DIE_AT=at)
    view = result_of(place.run(*RESUME))
    assert (view["status"], view["result"]) == ("completed", 4)
    assert place.effects() == [f"charge {n} r/{n}/charge/0" for n in range(4)]
    story = place.run("explain", "r", "--output", "text").stdout
    assert "interrupted  in step 2: process" in story
    assert "2 processes" in story


def test_between_effect_and_record_an_idempotent_tool_is_repeated_with_its_key(place):
    place.killed(*RUN, DIE_AT="tool-2-after-effect")
    assert place.effects()[-1] == "charge 2 r/2/charge/0"
    assert result_of(place.run(*RESUME))["result"] == 4
    assert place.effects().count("charge 2 r/2/charge/0") == 2
    assert len(set(place.effects())) == 4
    [call] = [call for call in rows(place, "tool-calls") if call["step_index"] == 2]
    assert (call["tries"], call["status"]) == (2, "done")


def test_between_effect_and_record_any_other_tool_waits_for_a_person(place):
    env = {"POLICY": "ask"}
    place.killed(*RUN, DIE_AT="tool-2-after-effect", **env)
    [doubt] = json.loads(place.run("doubts").stdout)
    assert (doubt["name"], doubt["step_index"], doubt["status"]) == ("charge", 2, "in_doubt")
    for _ in range(2):
        assert place.run(*RESUME, **env).returncode == 3
    assert place.effects().count("charge 2 r/2/charge/0") == 1
    done = place.run("resolve", doubt["id"], "--result", '"receipt 2"', "--by", "ann")
    assert (done.returncode, done.stdout) == (0, "")
    assert "resume: loom-runner resume" in done.stderr
    assert result_of(place.run(*RESUME, **env))["result"] == 4
    assert place.effects() == [f"charge {n} r/{n}/charge/0" for n in range(4)]
    assert "4 calls, decided by ann" in place.run("explain", "r", "--output", "text").stdout


def test_between_effect_and_record_a_tool_that_must_fail_fails(place):
    env = {"POLICY": "fail"}
    place.killed(*RUN, DIE_AT="tool-2-after-effect", **env)
    done = place.run(*RESUME, **env)
    assert done.returncode == 1
    assert "its outcome is unknown; it was not repeated" in json.loads(done.stdout)["error"]["message"]
    assert place.effects().count("charge 2 r/2/charge/0") == 1


def test_a_call_in_doubt_that_is_retried_runs_the_tool_again(place):
    env = {"POLICY": "ask"}
    place.killed(*RUN, DIE_AT="tool-1-before-effect", **env)
    assert place.run(*RESUME, **env).returncode == 3
    [doubt] = json.loads(place.run("doubts").stdout)
    assert place.run("resolve", doubt["id"], "--retry").returncode == 0
    assert result_of(place.run(*RESUME, **env))["result"] == 4
    assert len(place.effects()) == 4


def test_the_history_of_a_crash_can_be_read_before_anybody_resumes(place):
    place.killed(*RUN, DIE_AT="tool-2-after-effect")
    story = place.run("explain", "r", "--output", "text")
    assert "is gone; resume it" in story.stdout
    assert "resume: loom-runner resume agent.py --run-id r" in story.stderr
    assert [step["step_index"] for step in rows(place, "history")] == [0, 1]


def test_sigterm_and_ctrl_c_leave_a_run_that_can_be_resumed(place):
    for number, sign in ((0, signal.SIGINT), (1, signal.SIGTERM)):
        (place.folder / "reached").unlink(missing_ok=True)
        process = place.spawn(*RUN, SLEEP_AT=str(number + 1), LOOM_RUNNER_GRACE_S="0.1")
        place.wait_for("reached", process)
        process.send_signal(sign)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out) == (130, "")
        assert err == "interrupted. Resume: loom-runner resume agent.py --run-id r\n"
        view = json.loads(place.run("get", "r").stdout)
        assert (view["status"], view["step_index"], view["held_by"]) == ("paused", number + 1, None)
    assert result_of(place.run(*RESUME))["result"] == 4
    assert "was stopped" in place.run("explain", "r", "--output", "text").stdout


@pytest.mark.interpreter
def test_sigterm_lets_the_step_come_to_its_end(place):
    place.write(
        "slow.py",
        """
        import asyncio
        from pathlib import Path
        from loom_runner import Complete, Continue

        async def step(state: int, ctx):
            Path("reached").touch()
            while not Path("open").exists():
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            return Continue(state + 1) if state < 3 else Complete(state)

        def initial_state():
            return 0
        """,
    )
    process = place.spawn("run", "slow.py", "r")
    place.wait_for("reached", process)
    process.send_signal(signal.SIGTERM)
    (place.folder / "open").touch()
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "interrupted. Resume: loom-runner resume slow.py --run-id r\n")
    view = json.loads(place.run("get", "r").stdout)
    assert (view["status"], view["step_index"], view["held_by"]) == ("paused", 1, None)
    assert result_of(place.run("resume", "r"))["result"] == 3


@pytest.mark.interpreter
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_stops_a_step_that_blocks_everything(place, times):
    process = place.spawn(*RUN, BLOCK_AT="step-1")
    place.wait_for("reached", process)
    for _ in range(times):
        process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    first, second = err.splitlines()
    assert first.startswith("step 1 of 'r' blocked the event loop for ")
    assert first.endswith("in block_at.")
    assert second == "interrupted. Resume: loom-runner resume agent.py --run-id r"
    assert result_of(place.run(*RESUME))["result"] == 4


def test_a_second_process_finds_the_run_busy_and_changes_nothing(place):
    first = place.spawn(*RUN, BLOCK_AT="step-2")
    place.wait_for("reached", first)
    for command in (RESUME, RUN):
        done = place.run(*command)
        assert (done.returncode, done.stdout) == (7, "")
        assert f"process {first.pid} drives it" in done.stderr
        assert done.stderr.count("\n") == 1
    (place.folder / "open").touch()
    out, err = first.communicate(timeout=30)
    assert (first.returncode, json.loads(out)["result"]) == (0, 4), err
    assert len(place.effects()) == 4


def test_of_three_processes_that_start_one_run_at_once_one_runs_it(place):
    processes = [place.spawn(*RUN, BLOCK_AT="step-1") for _ in range(3)]
    while sum(process.poll() is None for process in processes) > 1:
        time.sleep(0.01)
    (place.folder / "open").touch()
    done = sorted((process.wait(30), *process.communicate()) for process in processes)
    assert [code for code, _, _ in done] == [0, 7, 7], done
    assert place.effects() == [f"charge {n} r/{n}/charge/0" for n in range(4)]


@pytest.mark.parametrize("at", ["step-2", "tool-2"])
def test_a_process_that_slept_past_its_lease_writes_nothing_when_it_wakes(place, at):
    zombie = place.spawn(*RUN, BLOCK_AT=at, LEASE_S="0.5")
    place.wait_for("reached", zombie)
    os.kill(zombie.pid, signal.SIGSTOP)
    try:
        busy = place.run(*RESUME)
        while busy.returncode == 7:
            busy = place.run(*RESUME)
        assert result_of(busy)["result"] == 4
    finally:
        (place.folder / "open").touch()
        os.kill(zombie.pid, signal.SIGCONT)
    with SQLiteStore(place.folder / "runs.sqlite", read_only=True) as store:
        before = [
            store.reader.get_run("r"),
            store.reader.steps("r"),
            store.reader.tool_calls("r"),
            store.reader.attempts("r"),
        ]
    out, err = zombie.communicate(timeout=30)
    assert (zombie.returncode, out) == (7, "")
    assert "cannot write to 'r': another process took the run over" in err
    with SQLiteStore(place.folder / "runs.sqlite", read_only=True) as store:
        assert [
            store.reader.get_run("r"),
            store.reader.steps("r"),
            store.reader.tool_calls("r"),
            store.reader.attempts("r"),
        ] == before
        assert [step.fence for step in before[1]] == [1, 1, 2, 2, 2]
    # A zombie inside a tool wakes inside the tool: its effect carries the key, which is all that
    # anybody can do.
    assert len(set(place.effects())) == 4
    assert len(place.effects()) == (4 if at == "step-2" else 5)


@pytest.mark.interpreter
def test_a_tailrec_loop_is_killed_and_resumed_at_its_next_call(place):
    place.write(
        "loop.py",
        """
        import os, signal
        from pathlib import Path
        from loom import tailrec
        from loom_runner import tool

        @tool(idempotent=True)
        async def note(n: int) -> int:
            with open("effects.txt", "a") as file:
                file.write(f"note {n}\\n")
            return n * n

        @tailrec
        async def agent_loop(n: int, squares: list[int]) -> list[int]:
            if n == 5:
                return squares
            square = await note(n)
            if n == 3 and not Path("died").exists():
                Path("died").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return await agent_loop(n + 1, [*squares, square])

        def initial_state():
            return {"n": 0, "squares": []}
        """,
    )
    command = ("loop.py:agent_loop", "--run-id", "x")
    place.killed("run", *command)
    view = result_of(place.run("resume", *command))
    assert view["result"] == [0, 1, 4, 9, 16]
    assert place.effects() == [f"note {n}" for n in range(5)]


def test_after_a_crash_the_database_is_intact(place):
    place.killed(*RUN, DIE_AT="before-commit-3")
    with SQLiteStore(place.folder / "runs.sqlite") as store:
        assert store._file.db.pragma("integrity_check") == "ok"
        assert asyncio.run(store.claim_run(store.reader.get_run("r"), LATE, take_over=False)) is None
