"""Fork a chat: start another conversation from a turn or a step of an existing one."""

from loom_agents import AgentState
from loom_runner import LocalEngine, Runs, SQLiteStore

from loom_run._errors import LoomRunError


async def fork_chat(
    store: SQLiteStore, run_id: str, *, turn: int | None = None, step: int | None = None, name: str | None = None
) -> str:
    """Create a run that starts after a turn or a step of another run, by default its latest step.

    Args:
        store: The database.
        run_id: The run to fork.
        turn: Start after the answer to this message of the user, counted from 1.
        step: Start after this step, counted from 0.
        name: The id of the new run.

    Returns:
        The id of the new run.

    Raises:
        LoomRunError: That turn has no answer yet.
        RunnerError: There is no such run or step, or the id is taken.
    """
    last = Runs(store).get(run_id)["step_index"] - 1
    if turn is not None:
        step = _step_that_answered(store, run_id, turn)
    return await LocalEngine(store).fork(run_id=run_id, step=last if step is None else step, new_run_id=name)


def _step_that_answered(store: SQLiteStore, run_id: str, turn: int) -> int:
    runs = Runs(store)
    last = runs.get(run_id)["step_index"]
    for index in range(last):
        (row,) = runs.history(run_id, first=index, limit=1)
        state = AgentState.from_json(row["state"])
        if state.turn == turn and state.answer is not None:
            return index
    raise LoomRunError(f"cannot fork {run_id!r} after turn {turn}: that turn has no answer.", run_id=run_id)
