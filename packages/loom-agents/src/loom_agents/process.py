"""Run commands that cannot outlive the process that started them."""

from loom_agents._process.run import Ended, Limits, can_leave_network, run_process

__all__ = ["Ended", "Limits", "can_leave_network", "run_process"]
