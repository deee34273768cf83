"""Work that an agent delegates: each call of `delegate` is a run of its own, the child of this one.

The calls of one reply run side by side. The children are started in the transaction that commits the
step, so a crash leaves all of them or none, and the next process finds the same ones. The first task
of an agent is the run `<parent>:sub:<agent>`, the next one `<parent>:sub:<agent>-2`, and so on (a
number that would make the name of another agent is skipped); the state records which call has which
child. A child gets what remains of its parent's budget, or less when its profile says so.
"""

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from loom_runner import Budget, Child

from loom_agents._agent.tool_calls import failed, refusal
from loom_agents._models.messages import ToolCall, ToolMessage, Usage
from loom_agents._models.protocol import ToolSpec

DELEGATE: Final = "delegate"
MAX_TASK_CHARACTERS = 20_000


@dataclass(frozen=True, slots=True)
class AgentProfile:
    """Describe an agent that other agents may delegate to.

    Args:
        name: Its name.
        prompt: Its instructions; their first line tells the other agents what it is for.
        tools: The tools that it has, by name or with wildcards; None for all.
        model: Its model; None for that of its parent.
        max_requests: Model requests for one task.
        max_tokens: Tokens for one task.
        max_cost_usd: Cost of one task.
    """

    name: str
    prompt: str
    tools: tuple[str, ...] | None = None
    model: str | None = None
    max_requests: int | None = None
    max_tokens: int | None = None
    max_cost_usd: float | None = None

    @property
    def purpose(self) -> str:
        """What it is for, in one line."""
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
    """Say which agents there are to delegate to, and how their runs start.

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
            "Give a task to another agent and get its answer. It knows nothing but the task. Call it several times in"
            f" one reply for independent tasks: they are done at the same time. Agents: {agents}",
            {
                "type": "object",
                "properties": {
                    "agent": {"type": "string", "enum": [agent.name for agent in self.agents]},
                    "task": {"type": "string", "description": "everything that the agent needs to know"},
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
            calls: Valid ones, in order.
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
    """Return the name of an agent's next child: the agent's own, or the first numbered one that is free.

    The names of the other agents count as taken: `coder-2` is the second child of `coder` only when no agent is called
    `coder-2`. Nothing is derived from how many children there are, so two agents cannot arrive at the same name.
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
    why = child.error.message if child.error else child.status
    return failed(call, f"{call.arguments['agent']} did not finish ({child.run_id} is {child.status}): {why}")


def child_usage(child: Any) -> Usage:
    """Return the usage of a completed child and its own children."""
    result = child.result if child is not None and isinstance(child.result, Mapping) else {}
    return Usage.from_json(result.get("usage", {})) if child is not None else Usage()
