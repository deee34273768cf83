"""The state of an agent's run, from which everything else is derived."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from loom_agents._agent.user_questions import is_question, question_text
from loom_agents._models.messages import (
    AssistantMessage,
    Message,
    SummaryMessage,
    ToolCall,
    ToolMessage,
    Usage,
    UserMessage,
    dump_messages,
    load_messages,
)
from loom_agents._tools.input_requests import input_argument, input_question


@dataclass(frozen=True, slots=True)
class AgentState:
    """Hold what an agent needs to continue in any process.

    Args:
        messages: The conversation so far.
        usage: The usage of all requests of the run.
        children_usage: The usage of its child runs.
        setup: JSON from which the application builds the same model and tools again; the
            coordinator does not read it.
        questions: Questions of tools to a person, by the id of the call: the tool's `payload`, and
            the answer as `input` when there is one (see `_tools.input_requests`).
        tool_table: A hash of each remote tool that the model knows, by its name.
        delegated: The name of the child run of each `delegate` call so far, by its id.
    """

    messages: tuple[Message, ...] = ()
    usage: Usage = field(default_factory=Usage)
    children_usage: Usage = field(default_factory=Usage)
    setup: Mapping[str, Any] = field(default_factory=dict)
    questions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tool_table: Mapping[str, str] | None = None
    delegated: Mapping[str, str] = field(default_factory=dict)

    @property
    def total_usage(self) -> Usage:
        """The usage of the run and its child runs."""
        return self.usage + self.children_usage

    @property
    def pending(self) -> tuple[ToolCall, ...]:
        """The tool calls that have no answer yet."""
        answered = set()
        for message in reversed(self.messages):
            if isinstance(message, AssistantMessage):
                return tuple(call for call in message.tool_calls if call.id not in answered)
            if isinstance(message, ToolMessage):
                answered.add(message.call_id)
        return ()

    @property
    def question(self) -> str | None:
        """The first unanswered question of the model or of a tool; None when there is none."""
        open_ones = [question_text(call) for call in self.pending if is_question(call)]
        open_ones += [input_question(entry["payload"]) for entry in self.questions.values() if "input" not in entry]
        return open_ones[0] if open_ones else None

    @property
    def turn(self) -> int:
        """The number of messages that the user has sent."""
        return sum(
            message.turns if isinstance(message, SummaryMessage) else isinstance(message, UserMessage)
            for message in self.messages
        )

    @property
    def turn_requests(self) -> int:
        """The number of requests that got a reply since the user's last message."""
        count = 0
        for index, message in enumerate(reversed(self.messages)):
            if isinstance(message, UserMessage):
                before = self.messages[-index - 2] if index + 2 <= len(self.messages) else None
                return count + (before.turn_replies if isinstance(before, SummaryMessage) else 0)
            count += isinstance(message, AssistantMessage)
        return count

    @property
    def last_user_text(self) -> str | None:
        """The user's last message; None before the first one."""
        return next((m.text for m in reversed(self.messages) if isinstance(m, UserMessage)), None)

    @property
    def answer(self) -> str | None:
        """The answer to the user's last message; None while there is none."""
        last = self.messages[-1] if self.messages else None
        return last.text if isinstance(last, AssistantMessage) and not last.tool_calls else None

    def with_user(self, text: str) -> "AgentState":
        """Return the state with one more message of the user."""
        return replace(self, messages=(*self.messages, UserMessage(text)))

    def with_answers(self, answers: Iterable[ToolMessage]) -> "AgentState":
        """Return the state with answers to open tool calls, in the order of the calls."""
        tail: list[ToolMessage] = list(answers)
        head = list(self.messages)
        while head and isinstance(head[-1], ToolMessage):
            last = head.pop()
            assert isinstance(last, ToolMessage)
            tail.append(last)
        reply = head[-1] if head else None
        order = [call.id for call in reply.tool_calls] if isinstance(reply, AssistantMessage) else []
        return replace(self, messages=(*head, *sorted(tail, key=lambda answer: order.index(answer.call_id))))

    def with_input(self, answer: Any) -> "AgentState":
        """Return the state with answers to questions of tools, by call id or to the first one."""
        open_ones = [call_id for call_id, entry in self.questions.items() if "input" not in entry]
        by_id = answer if isinstance(answer, Mapping) and any(call_id in answer for call_id in open_ones) else None
        if by_id is None:
            text = answer["text"] if isinstance(answer, Mapping) and set(answer) == {"text"} else answer
            by_id = {open_ones[0]: text} if open_ones else {}
        answered = {
            call_id: {
                **self.questions[call_id],
                "input": input_argument(self.questions[call_id]["payload"], by_id[call_id]),
            }
            for call_id in open_ones
            if call_id in by_id
        }
        return replace(self, questions={**self.questions, **answered})

    def to_json(self) -> dict[str, Any]:
        """Return the stored form: a JSON object."""
        stored: dict[str, Any] = {
            "conversation": dump_messages(self.messages),
            "usage": self.usage.to_json(),
            "setup": dict(self.setup),
        }
        if self.questions:
            stored["questions"] = {call_id: dict(entry) for call_id, entry in self.questions.items()}
        if self.tool_table is not None:
            stored["tool_table"] = dict(self.tool_table)
        if self.delegated:
            stored["delegated"] = dict(self.delegated)
            stored["children_usage"] = self.children_usage.to_json()
        return stored

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "AgentState":
        """Read the stored form.

        Raises:
            MessageFormatError: The conversation has a format that this version does not know.
        """
        return cls(
            messages=load_messages(data.get("conversation")),
            usage=Usage.from_json(data.get("usage", {})),
            children_usage=Usage.from_json(data.get("children_usage", {})),
            setup=data.get("setup", {}),
            questions=data.get("questions", {}),
            tool_table=data.get("tool_table"),
            delegated=data.get("delegated", {}),
        )
