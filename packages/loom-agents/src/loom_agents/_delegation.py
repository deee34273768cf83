"""Work that an agent gives to others: each call of `delegate` is a run of its own, the child of this one.

Several calls of one reply run side by side. The children are started in the transaction that commits the step, so a
crash leaves all of them or none, and the next process finds the same ones. The first errand of an agent is the run
`<parent>:sub:<agent>`, the next one `<parent>:sub:<agent>-2`, and so on; which call has which child is kept in the
state. A child gets what remains of its parent's budget, or less when its profile says so.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from loom_runner import Budget, Child

from loom_agents._calls import failed, refusal
from loom_agents._messages import ToolCall, ToolMessage, Usage
from loom_agents._model import ToolSpec

DELEGATE: Final = "delegate"
MAX_TASK_CHARACTERS = 20_000


@dataclass(frozen=True, slots=True)
class AgentProfile:
    """Describe an agent that others may give work to.

    Args:
        name: how it is called.
        prompt: what it is told before its task; its first line tells the others what it is good for.
        tools: the tools that it has, by name or with wildcards; None for all.
        model: its model; None for that of its parent.
        max_requests: model requests of one errand.
        max_tokens: tokens of one errand.
        max_cost_usd: price of one errand.
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
        """What it is good for, in one line."""
        return self.prompt.strip().partition("\n")[0][:200]

    @property
    def budget(self) -> Budget | None:
        """What one errand may use; a step is a model request."""
        budget = Budget(steps=self.max_requests, tokens=self.max_tokens, cost_usd=self.max_cost_usd)
        return None if budget == Budget() else budget

    def to_json(self) -> dict[str, Any]:
        """Give the stored form."""
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
    """Say who may be given work, and what their runs begin with.

    Args:
        agents: the agents; each is a key of the runner's `children=`.
        first_state: gives the state that a run of an agent begins with, from its profile and the task.
    """

    agents: Sequence[AgentProfile]
    first_state: Callable[[AgentProfile, str], Any]

    def spec(self) -> ToolSpec:
        """Describe the tool to the model."""
        who = "; ".join(f"{agent.name}: {agent.purpose}" for agent in self.agents)
        return ToolSpec(
            DELEGATE,
            "Give a task to another agent and get its answer. It knows nothing but the task. Call it several times in"
            f" one reply for tasks that do not need each other: they are worked on at the same time. Agents: {who}",
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
        """Answer a call that cannot be one; None for a good one."""
        if (refused := refusal(call)) is not None:
            return refused
        agent, task = call.arguments.get("agent"), call.arguments.get("task")
        names = [known.name for known in self.agents]
        if agent not in names:
            return failed(call, f"cannot delegate to {agent!r}: there is no such agent. Agents: {', '.join(names)}.")
        if not isinstance(task, str) or not task.strip() or len(task) > MAX_TASK_CHARACTERS:
            return failed(call, f"cannot delegate: `task` is not a text of 1 to {MAX_TASK_CHARACTERS} characters.")
        if set(call.arguments) != {"agent", "task"}:
            return failed(call, "cannot delegate: it takes two arguments, `agent` and `task`.")
        return None

    def children(self, calls: Sequence[ToolCall], earlier: Mapping[str, str]) -> tuple[list[Child], dict[str, str]]:
        """Say which runs the calls start.

        Args:
            calls: good ones, in order.
            earlier: the names of the children of earlier calls, by call id.

        Returns:
            The children, and the names of all children so far by call id.
        """
        names = dict(earlier)
        children = []
        for call in calls:
            agent = next(known for known in self.agents if known.name == call.arguments["agent"])
            count = 1 + sum(name == agent.name or name.startswith(f"{agent.name}-") for name in names.values())
            name = names[call.id] = agent.name if count == 1 else f"{agent.name}-{count}"
            first = self.first_state(agent, call.arguments["task"])
            children.append(Child(name, first, program=agent.name, budget=agent.budget))
        return children, names


def child_answer(call: ToolCall, child: Any) -> ToolMessage:
    """Answer a call with what became of its run (a `ChildResult`; None when there is none)."""
    if child is None:
        return ToolMessage(call.id, call.name, "interrupted", "the run of this task is not there any more")
    if child.status == "completed":
        payload = {"agent": call.arguments["agent"], "run_id": child.run_id, "answer": child.result["answer"]}
        return ToolMessage(call.id, call.name, "success", payload)
    why = child.error.message if child.error else child.status
    return failed(call, f"{call.arguments['agent']} did not come to an end ({child.run_id} is {child.status}): {why}")


def child_usage(child: Any) -> Usage:
    """What a completed child and its own children have used."""
    result = child.result if child is not None and isinstance(child.result, Mapping) else {}
    return Usage.from_json(result.get("usage", {})) if child is not None else Usage()
