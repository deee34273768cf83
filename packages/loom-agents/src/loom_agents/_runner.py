"""Put a coordinator on a store."""

from collections.abc import Callable, Sequence

from loom_runner import AgentRunner, RetryPolicy, RunEvent, Store, ToolRegistry

from loom_agents._coordinator import Coordinator
from loom_agents._errors import ModelError


def build_agent_runner(
    coordinator: Coordinator,
    tools: ToolRegistry,
    store: Store,
    *,
    observers: Sequence[Callable[[RunEvent], None]] = (),
    retry: RetryPolicy | None = None,
) -> AgentRunner:
    """Build the runner of an agent. Start it with `AgentState(...).to_json()`.

    Args:
        coordinator: the step.
        tools: the registry that the coordinator was built with.
        store: where the rows are, for instance `SQLiteStore("runs.sqlite")`.
        observers: called with every event of a run.
        retry: when a failed step is tried again; without it, when the model error says that it may pass.
    """
    policy = retry or RetryPolicy(should_retry=_may_pass)
    return AgentRunner(step=coordinator.step, store=store, tools=tools, observers=observers, retry=policy)


def _may_pass(error: BaseException) -> bool:
    if isinstance(error, ModelError):
        return error.retryable
    return RetryPolicy().should_retry(error)
