"""Tools for testing durable agents: a clock in the hand, effects that cannot hide, and crashes at named points.

    clock = FakeClock()
    runner = AgentRunner(step=step, store=crash_at(SQLiteStore(path), "commit_step.inside", nth=3), clock=clock)

`python -m loom_runner.testing --number 1000` kills a small agent at random points, a thousand times, and counts
what was lost or repeated.
"""

from loom_runner.testing._clock import FakeClock
from loom_runner.testing._crash import CRASH_POINTS, CrashingStore, crash_at
from loom_runner.testing._effects import EffectLog
from loom_runner.testing._sweep import SweepReport, sweep

__all__ = ["CRASH_POINTS", "CrashingStore", "EffectLog", "FakeClock", "SweepReport", "crash_at", "sweep"]
