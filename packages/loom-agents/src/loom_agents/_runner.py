"""Put a coordinator on a store."""

from collections.abc import Callable, Mapping, Sequence

from loom_runner import AgentRunner, RetryPolicy, RunEvent, Store, ToolRegistry

from loom_agents._coordinator import Coordinator
from loom_agents._errors import ModelError
from loom_agents._policy import Policy


def build_agent_runner(
    coordinator: Coordinator,
    tools: ToolRegistry,
    store: Store,
    *,
    observers: Sequence[Callable[[RunEvent], None]] = (),
    retry: RetryPolicy | None = None,
    policy: Policy | None = None,
    children: Mapping[str, Callable[[], AgentRunner]] | None = None,
) -> AgentRunner:
    """Build the runner of an agent. Start it with `AgentState(...).to_json()`.

    Args:
        coordinator: the step.
        tools: the registry that the coordinator was built with.
        store: where the rows are, for instance `SQLiteStore("runs.sqlite")`.
        observers: called with every event of a run.
        retry: when a failed step is tried again; without it, when the model error says that it may pass.
        policy: which tool calls run, wait for a person, or are refused; without it, those wait whose tool is declared
            `needs_approval`.
        children: makes the runner of each agent that may be given work, by its name, on the same store.
    """
    return AgentRunner(
        step=coordinator.step,
        store=store,
        tools=tools,
        observers=observers,
        retry=retry or RetryPolicy(should_retry=_may_pass),
        gate=None if policy is None else policy.gate,
        children=children,
    )


def _may_pass(error: BaseException) -> bool:
    if isinstance(error, ModelError):
        return error.retryable
    return RetryPolicy().should_retry(error)
