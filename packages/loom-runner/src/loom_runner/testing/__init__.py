"""Tools for testing durable agents: a fake clock, an effect log, crashes, and golden runs.

    clock = FakeClock()
    runner = AgentRunner(step=step, store=crash_at(SQLiteStore(path), "commit_step.inside", nth=3), clock=clock)

    def test_counter(loom_golden):  # a pytest fixture; `pytest --update-goldens` writes the golden copy
        loom_golden(build_runner, initial_state=State())

    class TestMyStore(StoreContract): ...  # your own implementation of `Store` is correct when it passes

`python -m loom_runner.testing kill | power | faults | peek` counts what is lost or repeated when a
small agent is killed at random points, when the power fails after any operation on the disk, when
the disk refuses any operation, and when other SQLite libraries use the database.
"""

from loom_runner.testing._clock import FakeClock
from loom_runner.testing._crash import CRASH_POINTS, CrashingStore, crash_at
from loom_runner.testing._disk_sweeps import DiskReport, fault_sweep, power_sweep
from loom_runner.testing._effects import EffectLog, memory_folder
from loom_runner.testing._golden import LoomGolden, comparable_run
from loom_runner.testing._kill_sweep import KillPoint, SweepReport, Trial, kill_runs, sweep_command
from loom_runner.testing._peek_sweep import PeekReport, peek_sweep
from loom_runner.testing._store_contract import StoreContract
from loom_runner.testing._sweep import sweep

__all__ = [
    "CRASH_POINTS",
    "CrashingStore",
    "DiskReport",
    "EffectLog",
    "FakeClock",
    "KillPoint",
    "LoomGolden",
    "PeekReport",
    "StoreContract",
    "SweepReport",
    "Trial",
    "comparable_run",
    "crash_at",
    "fault_sweep",
    "kill_runs",
    "memory_folder",
    "peek_sweep",
    "power_sweep",
    "sweep",
    "sweep_command",
]
