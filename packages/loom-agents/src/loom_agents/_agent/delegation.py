"""Delegation: each call of `delegate` starts a child run.

The calls of one reply run concurrently. The children are started in the transaction that commits
the step, so a crash leaves all of them or none, and the next process finds the same ones. The first
task of an agent is the run `<parent>:sub:<agent>`, the next one `<parent>:sub:<agent>-2`, and so on
(a number that would give the name of another agent is skipped); the state records the child of each
call. A child gets what remains of its parent's budget, or the budget of its profile if that is
less.
"""

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from loom_runner import Budget, Child, UsageError
from loom_runner.run_ids import check_child_name

from loom_agents._agent.tool_calls import failed, refusal
from loom_agents._models.messages import ToolCall, ToolMessage, Usage
from loom_agents._models.protocol import ToolSpec

DELEGATE: Final = "delegate"
MAX_TASK_CHARACTERS = 20_000
MAX_NAME_CHARACTERS: Final = 100


@dataclass(frozen=True, slots=True)
class AgentProfile:
    """Describe an agent that other agents may delegate to.

    Args:
        name: Its name, of at most 100 characters; runs of its tasks are named after it.
        prompt: Its instructions; the first line describes its purpose to the other agents.
        tools: Its tools, as names or patterns with wildcards; None for all.
        model: Its model; None for that of its parent.
        max_requests: The most model requests for one task.
        max_tokens: The most tokens for one task.
        max_cost_usd: The highest cost of one task.

    Raises:
        UsageError: The name cannot be that of a run: it is too long, blank, contains `#` or `:sub:`
            or a character that is not printable, or is not a string.
    """

    name: str
    prompt: str
    tools: tuple[str, ...] | None = None
    model: str | None = None
    max_requests: int | None = None
    max_tokens: int | None = None
    max_cost_usd: float | None = None

    def __post_init__(self) -> None:
        check_child_name(self.name, "define an agent named")
        if len(self.name) > MAX_NAME_CHARACTERS:
            raise UsageError(
                f"cannot define an agent named {self.name!r:.60}: the name has {len(self.name)} characters. "
                f"Use at most {MAX_NAME_CHARACTERS}, because the ids of its runs contain it."
            )

    @property
    def purpose(self) -> str:
        """Its purpose, in one line."""
        return self.prompt.strip().partition("\n")[0][:200]

    @property
    def budget(self) -> Budget | None:
        """The budget of one task; a step is a model request."""
        budget = Budget(steps=self.max_requests, tokens=self.max_tokens, cost_usd=self.max_cost_usd)
        return None if budget == Budget() else budget

    def to_json(self) -> dict[str, Any]:
        """Return the stored form."""
        stored = {item.name: getattr(self, item.name) for item in fields(self)}
        return stored | {"tools": None if self.tools is None else list(self.tools)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "AgentProfile":
        """Read the stored form."""
        known = {item.name: data[item.name] for item in fields(cls) if item.name in data}
        if known.get("tools") is not None:
            known["tools"] = tuple(known["tools"])
        return cls(**known)


@dataclass(frozen=True, slots=True)
class Delegation:
    """Define the agents that a model may delegate to, and how their runs start.

    Args:
        agents: The agents; each is a key of the runner's `children=`.
        first_state: Returns the initial state of a run of an agent, from its profile and the task.
    """

    agents: Sequence[AgentProfile]
    first_state: Callable[[AgentProfile, str], Any]

    def spec(self) -> ToolSpec:
        """Describe the tool to the model."""
        agents = "; ".join(f"{agent.name}: {agent.purpose}" for agent in self.agents)
        return ToolSpec(
            DELEGATE,
            "Give a task to another agent and get its answer. The agent knows only the task. Call this tool several"
            f" times in one reply for independent tasks: they run at the same time. Agents: {agents}",
            {
                "type": "object",
                "properties": {
                    "agent": {"type": "string", "enum": [agent.name for agent in self.agents]},
                    "task": {"type": "string", "description": "Everything that the agent needs to know."},
                },
                "required": ["agent", "task"],
                "additionalProperties": False,
            },
        )

    def check(self, call: ToolCall) -> ToolMessage | None:
        """Answer an invalid call; None for a valid one."""
        if (refused := refusal(call)) is not None:
            return refused
        agent, task = call.arguments.get("agent"), call.arguments.get("task")
        names = [known.name for known in self.agents]
        if agent not in names:
            return failed(call, f"cannot delegate to {agent!r}: there is no such agent. Agents: {', '.join(names)}.")
        if not isinstance(task, str) or not task.strip() or len(task) > MAX_TASK_CHARACTERS:
            return failed(call, f"cannot delegate: `task` is not a string of 1 to {MAX_TASK_CHARACTERS} characters.")
        if set(call.arguments) != {"agent", "task"}:
            return failed(call, "cannot delegate: it takes two arguments, `agent` and `task`.")
        return None

    def children(self, calls: Sequence[ToolCall], earlier: Mapping[str, str]) -> tuple[list[Child], dict[str, str]]:
        """Return the child runs that calls start.

        Args:
            calls: Valid calls, in order.
            earlier: The names of the children of earlier calls, by call id.

        Returns:
            The children, and the names of all children so far, by call id.
        """
        names = dict(earlier)
        children = []
        for call in calls:
            agent = next(known for known in self.agents if known.name == call.arguments["agent"])
            others = {known.name for known in self.agents} - {agent.name}
            name = names[call.id] = _free_name(agent.name, {*names.values(), *others})
            first = self.first_state(agent, call.arguments["task"])
            children.append(Child(name, first, program=agent.name, budget=agent.budget))
        return children, names


def _free_name(agent: str, taken: Collection[str]) -> str:
    """Return the name of an agent's next child: that of the agent, or a free one with a number.

    The names of the other agents count as taken: `coder-2` is the second child of `coder` only when
    no agent is called `coder-2`. The number of children is not used, so two agents cannot get the
    same name.
    """
    numbered = (f"{agent}-{number}" for number in itertools.count(2))
    return next(name for name in itertools.chain((agent,), numbered) if name not in taken)


def child_answer(call: ToolCall, child: Any) -> ToolMessage:
    """Answer a call with the result of its child run (a `ChildResult`; None when there is none)."""
    if child is None:
        return ToolMessage(call.id, call.name, "interrupted", "the run of this task no longer exists")
    if child.status == "completed":
        payload = {"agent": call.arguments["agent"], "run_id": child.run_id, "answer": child.result["answer"]}
        return ToolMessage(call.id, call.name, "success", payload)
    reason = child.error.message if child.error else child.status
    return failed(call, f"{call.arguments['agent']} did not finish ({child.run_id} is {child.status}): {reason}")


def child_usage(child: Any) -> Usage:
    """Return the usage of a completed child and its children."""
    result = child.result if child is not None and isinstance(child.result, Mapping) else {}
    return Usage.from_json(result.get("usage", {})) if child is not None else Usage()
