"""The agent of a run, for a caller that may have named another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loom_runner._store.lookup import find_run
from loom_runner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from loom_runner._driver.driver import Driver
    from loom_runner._program.agent import Agent
    from loom_runner._store.protocol import Store

__all__ = ["find_agent"]


async def find_agent(
    store: Store, drivers: Iterable[Driver], run_id: str, verb: str, agent: Agent | None
) -> Agent | None:
    """Return the agent of a run; None if no agent is given and no driver has it.

    Args:
        drivers: Those of the given agent and its children, or of all agents in use.

    Raises:
        UsageError: The run belongs neither to the given agent nor to one of its children.
    """
    record = await find_run(store, run_id, verb)
    found = next((each.agent for each in drivers if record.program in each.known_names), None)
    if found is None and agent is not None:
        raise UsageError(
            f"cannot {verb} {run_id!r}: it is a run of program {record.program!r}, and this is {agent.name!r}. "
            "Use its own agent.",
            run_id=run_id,
        )
    return found
