"""Run commands that cannot outlive the process that wanted them; for packages above this one."""

from loom_agents._process.run import Ended, Limits, run_process

__all__ = ["Ended", "Limits", "run_process"]
