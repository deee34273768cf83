"""Begin another conversation in the middle of one."""

from loom_agents import AgentState
from loom_runner import SQLiteStore

from loom_run._errors import LoomRunError
from loom_run._reader import reader


async def forked(
    store: SQLiteStore, run_id: str, *, turn: int | None = None, step: int | None = None, name: str | None = None
) -> str:
    """Make a new run that begins after a turn or a step of another one; the latest step when neither is given.

    Args:
        store: the database.
        run_id: the run.
        turn: after the answer to this message of the user, from 1.
        step: after this step, from 0.
        name: how the new run is called.

    Returns:
        Its name.

    Raises:
        LoomRunError: that turn has no answer yet.
        RunnerError: there is no such run or step, or the name is taken.
    """
    runner = reader(store)
    last = runner.get(run_id)["step_index"] - 1
    if turn is not None:
        step = _answered_in(store, run_id, turn)
    return await runner.fork(run_id=run_id, step=last if step is None else step, new_run_id=name)


def _answered_in(store: SQLiteStore, run_id: str, turn: int) -> int:
    """Find the step that answered a turn."""
    runner = reader(store)
    last = runner.get(run_id)["step_index"]
    for index in range(last):
        (row,) = runner.history(run_id, first=index, limit=1)
        state = AgentState.from_json(row["state"])
        if state.turn == turn and state.answer is not None:
            return index
    raise LoomRunError(f"cannot fork {run_id!r} after turn {turn}: that turn has no answer.", run_id=run_id)
