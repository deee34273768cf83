"""Rows of new runs, and whether an existing run is the same one: of this agent, with the same
input.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from loom_runner._model.writes import NewRun
from loom_runner._program.plain_json import canonical
from loom_runner._store.lookup import find_run
from loom_runner.errors import RunExists, StateError

if TYPE_CHECKING:
    from loom_runner._driver.settings import Settings
    from loom_runner._model.budget import Budget
    from loom_runner._model.records import RunRecord
    from loom_runner._program.protocol import Program

__all__ = ["alias_for", "existing_run", "is_run_of", "is_same_input", "new_run"]


def new_run(settings: Settings, run_id: str, initial: Any, budget: Budget | None) -> tuple[NewRun, Any]:
    """Return the row of a new run, and its state."""
    text = settings.program.begin(initial)
    state = settings.program.read_state(text)  # the run must not change the caller's object
    limits = None if budget is None or budget.is_unlimited else json.dumps(budget.as_json())
    now = settings.clock.now_us()
    return NewRun(run_id, settings.agent.name, text, text, now, limits, settings.program.version), state


async def existing_run(settings: Settings, new: NewRun, verb: Literal["start", "enqueue"]) -> RunRecord:
    """Return the row of the run that has the id of a new one.

    Raises:
        RunExists: It belongs to another agent, or has another input.
    """
    run_id, where = new.run_id, settings.store.description
    record = await find_run(settings.store, run_id, verb)
    if not await is_run_of(settings, record):
        raise RunExists(
            f"cannot {verb} {run_id!r}: {where} has a run of this id of another program, {record.program!r}. Choose "
            f"another run id; if the program was renamed, add the old name: aliases=({alias_for(record)!r},).",
            run_id=run_id,
        )
    if not is_same_input(settings.program, record, new.input):
        raise RunExists(
            f"cannot {verb} {run_id!r}: a run of this id exists in {where} with another input. "
            "Continue it by resume, or choose another run id.",
            run_id=run_id,
        )
    return record


async def is_run_of(settings: Settings, record: RunRecord, *, through_parent: bool = False) -> bool:
    """Return whether an agent may drive a run.

    The row names the agent, or has the bare name of its function, as earlier versions wrote it. A
    bare name is accepted for a child that is reached through its parent, which names the agent, and
    otherwise if the run, or the one it is a fork of, was driven from the agent's file.

    Args:
        through_parent: The driver of the run's parent has chosen the agent.
    """
    agent = settings.agent
    if record.program in agent.names:
        return not _is_of_other_file(settings, record)
    if through_parent:
        return record.program == agent.unqualified_name
    if ":" in record.program or record.parent_run_id is not None:
        return False
    file = await _stem(settings, record)
    if file is not None and f"{file}:{record.program}" in agent.aliases:
        return True
    return record.program == agent.unqualified_name and file in {None, _stem_of(agent.program.code_at)}


def _is_of_other_file(settings: Settings, record: RunRecord) -> bool:
    """Return whether a run was last driven from another file that still exists: two files of one
    name in two folders give their agents the same name.
    """
    module = settings.module()
    if settings.agent.is_named or record.module is None or module is None or record.module == module:
        return False
    theirs, ours = Path(record.module), Path(module)
    return theirs.suffix == ".py" and theirs.is_file() and ours.is_file() and not theirs.samefile(ours)


def alias_for(record: RunRecord) -> str:
    """Return the alias that lets an agent take the run over."""
    bare = ":" not in record.program and record.code_at is not None
    return f"{_stem_of(record.code_at or '')}:{record.program}" if bare else record.program


async def _stem(settings: Settings, record: RunRecord) -> str | None:
    """Return the stem of the file that a run, or the run that it is a fork of, was driven from."""
    if record.code_at is None and record.forked_from is not None:
        source = await settings.store.get_run(record.forked_from["run_id"])
        return None if source is None else await _stem(settings, source)
    return None if record.code_at is None else _stem_of(record.code_at)


def _stem_of(code_at: str) -> str:
    """Return the stem in `FILE:LINE`; earlier versions began the names of their own files with an
    underscore.
    """
    return Path(code_at.rpartition(":")[0] or code_at).stem.lstrip("_")


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
