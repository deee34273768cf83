"""Ctrl-C and SIGTERM end a command whatever its step does, and the run can be resumed."""

import asyncio
import json
import signal
import threading

import pytest
from loom_runner import AgentRunner, Complete, SQLiteStore, cli_base
from loom_runner._cli.interrupts import run_watched
from loom_runner._program.run_step import blocking_step

pytestmark = pytest.mark.interpreter

AGENT = """
import asyncio, hashlib, os, time
from pathlib import Path
from loom_runner import Complete
HERE = Path(__file__).parent
async def ignores():
    while True:
        try: await asyncio.sleep(60)
        except asyncio.CancelledError: pass
async def sleeps(): time.sleep(60)
async def spins():
    while True: pass
async def computes(): hashlib.pbkdf2_hmac("sha256", b"x", b"y", 100_000_000)
async def in_thread(): await asyncio.to_thread(time.sleep, 60)
async def swallows():
    for _ in range(60):
        try: time.sleep(1)
        except BaseException: pass
async def step(state, ctx):
    if not (HERE / "reached").exists():
        (HERE / "reached").touch()
        await globals()[os.environ["KIND"]]()
    return Complete("fine")
def initial_state(): return None
"""
KINDS = {
    "sleeps": "step 0 of 'r' blocked the event loop for ",
    "spins": "step 0 of 'r' blocked the event loop for ",
    "computes": "step 0 of 'r' blocked the event loop for ",
    "swallows": "step 0 of 'r' blocked the event loop for ",
    "ignores": "interrupted. step 0 of 'r' did not end within ",
    "in_thread": "interrupted. ",
}


@pytest.mark.parametrize("command", ["run", "worker"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("kind", KINDS)
def test_one_signal_ends_a_command_whatever_its_step_does(place, kind, number, command):
    place.write("agent.py", AGENT)
    if command == "worker":
        with SQLiteStore(place.folder / "runs.sqlite") as store:

            async def step(state, ctx):
                return Complete(None)

            asyncio.run(AgentRunner(step=step, store=store, name="agent:step").enqueue(run_id="r"))
    arguments = ["run", "agent.py", "r"] if command == "run" else ["worker", "agent.py"]
    process = place.spawn(*arguments, KIND=kind, LOOM_RUNNER_GRACE_S="0.2", LOOM_DEBUG="")
    place.wait_for("reached", process)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)  # the step takes longer
    assert process.returncode == 130, err
    assert KINDS[kind] in err
    assert "Traceback" not in err
    explained = json.loads(place.run("explain", "r", "--output", "json").stdout)
    assert [event["what"] for event in explained["events"]] == ["interrupted"]
    done = place.run("resume", "agent.py", "r", KIND=kind)
    assert (done.returncode, json.loads(done.stdout)["result"]) == (0, "fine")


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_a_task_of_a_step_that_exits_does_not_end_the_loop(error):
    async def exits():
        raise error

    async def work():
        task = asyncio.ensure_future(exits())
        await asyncio.wait([task])
        return type(task.exception())

    assert run_watched(work(), on_sigterm=None, grace_s=1) is type(error)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_the_work_itself_may_exit(error):
    async def work():
        raise error

    with pytest.raises(type(error)):
        run_watched(work(), on_sigterm=None, grace_s=1)


def test_handlers_are_there_during_the_work_only():
    def handlers():
        return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    async def work():
        return handlers()

    before = handlers()
    during = cli_base.run_async(work())
    assert before == handlers()
    assert not set(before) & set(during)
    assert signal.set_wakeup_fd(-1) == -1


def test_handlers_that_the_work_installs_are_its_own():
    heard = []

    async def work():
        signal.signal(signal.SIGTERM, lambda *_: heard.append("theirs"))
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(0.05)
        return "went on"

    before = signal.getsignal(signal.SIGTERM)
    try:
        assert run_watched(work(), on_sigterm=lambda: heard.append("ours"), grace_s=0) == "went on"
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == ["theirs"]


def test_signals_are_noticed_also_if_the_work_redirects_their_numbers():
    async def work():
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, lambda: None)  # which sets the wakeup descriptor of the process
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(60)

    with pytest.raises(asyncio.CancelledError):
        run_watched(work(), on_sigterm=None, grace_s=5)


def test_sigterm_lets_the_work_end_by_itself():
    async def work():
        stopped = asyncio.Event()
        stops.append(stopped.set)
        signal.raise_signal(signal.SIGTERM)
        await stopped.wait()
        return "drained"

    stops = []
    assert run_watched(work(), on_sigterm=lambda: stops[0](), grace_s=60) == "drained"


def test_on_another_thread_there_are_no_handlers():
    async def work():
        return signal.getsignal(signal.SIGTERM)

    found = []
    thread = threading.Thread(target=lambda: found.append(cli_base.run_async(work())))
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGTERM)]


def test_a_thread_that_is_in_no_step_blocks_nothing():
    import sys

    assert blocking_step(None) is None
    assert blocking_step(sys._getframe()) is None
