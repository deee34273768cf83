"""Common queries on the runs of a database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from loom_agents.cli import requests_in_tree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loom_agents.cli import Request
    from loom_runner import Runs

__all__ = ["EXECUTOR", "PROGRAMS", "commands_in_doubt", "is_run_of_loom_ops", "pending_approvals"]

PROGRAMS: Final = "loom-ops/"
"""The program of each run of this product begins with it."""
EXECUTOR: Final = f"{PROGRAMS}executor"


def is_run_of_loom_ops(run: Mapping[str, Any]) -> bool:
    """Return whether a run is one of this product. Others may be in the same database, and their
    states and results have any form.
    """
    return str(run["program"]).startswith(PROGRAMS)


def pending_approvals(runs: Runs, run_id: str) -> list[Request]:
    """Return the requests of a run and its children that wait for a decision."""
    return requests_in_tree(runs.approvals(pending_only=True), run_id)


def commands_in_doubt(runs: Runs, run_id: str) -> list[dict[str, Any]]:
    """Return the commands in doubt of a run; other calls in doubt are repeated automatically."""
    return [call for call in runs.doubts(run_id) if call["name"] == "run_command"]
