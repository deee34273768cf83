import asyncio
import os
import subprocess
import sys
import threading
from dataclasses import replace

from loom_runner import AgentRunner, Complete, RunContext, StoreError
from loom_runner._driver.heartbeat import Heartbeat
from loom_runner._model.processes import is_gone, this_process
from loom_runner._model.records import Claim, Owner
from loom_runner._model.writes import LeaseRequest

CLAIM = Claim(1, "r", 1, 15.0)


def test_this_process_is_not_gone():
    assert not is_gone(this_process())


def test_a_process_that_ended_is_gone_even_before_its_parent_noticed():
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    owner = replace(this_process(), pid=process.pid)
    assert is_gone(owner)
    process.wait()
    assert is_gone(owner)


def test_another_process_with_the_same_pid_is_not_the_holder():
    assert is_gone(replace(this_process(), process="1"))


def test_a_process_of_another_machine_is_never_certainly_gone():
    assert not is_gone(replace(this_process(), machine="elsewhere", pid=2**22 + 1))


class Store:
    def __init__(self, answers):
        self.answers = answers
        self.beats = threading.Semaphore(0)

    def renew(self, claims):
        answer = self.answers.pop(0) if self.answers else []
        self.beats.release()
        if isinstance(answer, Exception):
            raise answer
        return [claim for claim in claims if claim in answer]


def test_leases_are_prolonged_from_a_thread_until_they_are_dropped():
    store = Store([])
    heartbeat = Heartbeat(store, 0.001)
    heartbeat.keep(CLAIM, lambda: None)
    for _ in range(3):
        assert store.beats.acquire(timeout=10)
    heartbeat.drop(CLAIM)
    heartbeat.drop(CLAIM)


def test_a_lost_lease_is_reported_once_and_a_failing_store_is_tried_again(caplog):
    store = Store([StoreError("locked"), [CLAIM]])
    lost = threading.Semaphore(0)
    heartbeat = Heartbeat(store, 0.001)
    heartbeat.keep(CLAIM, lost.release)
    assert lost.acquire(timeout=10)
    assert not lost.acquire(timeout=0.05)
    assert "leases cannot be renewed: " in caplog.text


def test_a_lease_from_before_the_clock_was_set_back_has_run_out(store, clock):
    async def step(state: int, ctx: RunContext) -> Complete[int]:
        return Complete(state)

    runner = AgentRunner(step=step, store=store, clock=clock)
    asyncio.run(runner.start(run_id="r", initial_state=1, max_steps=1))
    store._file.db.execute(
        "UPDATE runs SET status = 'running', lease_ms = 15000, renewed_at = unixepoch() * 1000 + 3600000"
    )
    store._file.db.execute("UPDATE leases SET machine = 'elsewhere'")
    record = store.reader.get_run("r")
    assert not record.is_leased
    assert [run.run_id for run in store.reader.ready_runs(["step", record.program], clock.now_us())] == ["r"]
    claim = asyncio.run(store.claim_run(record, LeaseRequest(Owner("m", 1, "p"), 15.0, "c", "c:1"), take_over=False))
    assert claim.fence == record.fence + 1
