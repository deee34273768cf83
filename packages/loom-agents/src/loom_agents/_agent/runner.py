"""Build an agent from a coordinator, and its runner."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from loom_runner import Agent, AgentRunner, LocalEngine, RetryPolicy, RunEvent, Store, ToolRegistry

from loom_agents._agent.coordinator import Coordinator
from loom_agents._agent.policy import Policy
from loom_agents._errors import ModelError
from loom_agents.redaction import redact


def build_agent(
    coordinator: Coordinator,
    tools: ToolRegistry,
    *,
    name: str,
    aliases: Sequence[str] = (),
    retry: RetryPolicy | None = None,
    policy: Policy | None = None,
    children: Mapping[str, Agent | Callable[[], Any]] | None = None,
) -> Agent:
    """Build an agent with the step of a coordinator; its state is `AgentState(...).to_json()`.

    Secrets in the results of its tools are masked before they are stored.

    Args:
        coordinator: The step.
        tools: The registry that the coordinator was built with.
        name: Identifies the agent in a database, so every agent of a program needs a unique name,
            including those that others delegate to.
        aliases: Earlier names of the agent.
        retry: When a failed step is tried again; by default when the error of the model is
            retryable.
        policy: Which tool calls run, need approval, or are denied. Without it, calls of tools that
            are declared `needs_approval` need approval.
        children: The agents that may be delegated to, by the names of their profiles, or functions
            that build one when it is first needed.
    """
    return Agent(
        name,
        step=coordinator.step,
        aliases=aliases,
        tools=tools,
        retry=retry or RetryPolicy(should_retry=_should_retry),
        gate=None if policy is None else policy.gate,
        redact=redact,
        children=children,
    )


def build_agent_runner(
    coordinator: Coordinator,
    tools: ToolRegistry,
    store: Store,
    *,
    name: str,
    aliases: Sequence[str] = (),
    observers: Sequence[Callable[[RunEvent], None]] = (),
    retry: RetryPolicy | None = None,
    policy: Policy | None = None,
    children: Mapping[str, Agent | Callable[[], Any]] | None = None,
) -> AgentRunner:
    """Build the runner of one agent on one store: `build_agent(...)` on a `LocalEngine(store)`.

    Args:
        coordinator, tools, name, aliases, retry, policy, children: As for `build_agent`.
        store: The store of the runs, for instance `SQLiteStore("runs.sqlite")`.
        observers: Called with every event of a run.
    """
    agent = build_agent(coordinator, tools, name=name, aliases=aliases, retry=retry, policy=policy, children=children)
    return AgentRunner.of(agent, LocalEngine(store, observers=observers))


def _should_retry(error: BaseException) -> bool:
    if isinstance(error, ModelError):
        return error.retryable
    return RetryPolicy().should_retry(error)
