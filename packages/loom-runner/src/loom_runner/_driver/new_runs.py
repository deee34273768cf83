"""Rows of new runs, and whether an existing run is the same one: of this agent, with the same
input.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from loom_runner._model.records import NewRun, RunRecord
from loom_runner._program.codec import canonical
from loom_runner._store.lookup import find_run
from loom_runner.errors import RunExists, StateError

if TYPE_CHECKING:
    from loom_runner._driver.settings import Settings
    from loom_runner._model.budget import Budget
    from loom_runner._program.agent import Agent
    from loom_runner._program.protocol import Program

__all__ = ["existing_run", "is_run_of_agent", "is_same_input", "new_run"]


def new_run(settings: Settings, run_id: str, initial: Any, budget: Budget | None) -> tuple[NewRun, Any]:
    """Return the row of a new run, and its state."""
    text = settings.program.begin(initial)
    state = settings.program.read_state(text)  # the run must not change the caller's object
    limits = None if budget is None or budget.is_unlimited else json.dumps(budget.as_json())
    now = settings.clock.now_us()
    return NewRun(run_id, settings.agent.name, text, text, now, limits, settings.program.version), state


async def existing_run(settings: Settings, new: NewRun) -> RunRecord:
    """Return the row of the run that has the id of a new one.

    Raises:
        RunExists: It belongs to another agent, or has another input.
    """
    run_id, where = new.run_id, settings.store.description
    record = await find_run(settings.store, run_id, "start")
    if not is_run_of_agent(settings.agent, record):
        raise RunExists(
            f"cannot start {run_id!r}: {where} has a run of this id of another program, "
            f"{record.program!r}. Choose another run id.",
            run_id=run_id,
        )
    if not is_same_input(settings.program, record, new.input):
        raise RunExists(
            f"cannot start {run_id!r}: a run of this id exists in {where} with another input. "
            "Continue it by resume, or choose another run id.",
            run_id=run_id,
        )
    return record


def is_run_of_agent(agent: Agent, record: RunRecord) -> bool:
    """Return whether an agent may drive a run, by the name in its row."""
    if record.program in agent.names:
        return True
    if record.program != agent.unqualified_name:
        return False
    if record.code_at is None or record.parent_run_id is not None:
        return True  # never driven, or reached through its parent, which names the agent
    return record.code_at.partition(":")[0] == agent.program.code_at.partition(":")[0]


def is_same_input(program: Program, record: RunRecord, text: str) -> bool:
    """Compare inputs as JSON values; one of an earlier version of the code is converted first."""
    given = canonical(text)
    if canonical(record.input) == given:
        return True
    for version in range(1, program.version):
        with contextlib.suppress(StateError):
            if canonical(program.upgraded(record.input, version, "the input")) == given:
                return True
    return False
