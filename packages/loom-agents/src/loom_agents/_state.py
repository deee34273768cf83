"""The state of an agent's run: the conversation and what it has used. Everything else follows from it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from loom_agents._mcp_input import answers_to, shown_question
from loom_agents._messages import (
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
from loom_agents._questions import is_question, question_text


@dataclass(frozen=True, slots=True)
class AgentState:
    """Hold what an agent needs to go on in any process.

    Args:
        messages: the conversation so far.
        usage: what all requests of the run used.
        children_usage: what the runs that it started used.
        setup: what the application needs to build the same model and tools again, as JSON; the coordinator
            does not read it.
        questions: what tools ask a person, by the id of their call: the tool's `payload`, and the answer as `input`
            once there is one (see `_mcp_input`).
        tool_table: a hash of each remote tool that the model knows, by its name.
        delegated: the name of the child run of each `delegate` call so far, by its id.
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
        """What the run and those that it started used."""
        return self.usage + self.children_usage

    @property
    def pending(self) -> tuple[ToolCall, ...]:
        """The tool calls that the model asked for and that have no answer yet."""
        answered = set()
        for message in reversed(self.messages):
            if isinstance(message, AssistantMessage):
                return tuple(call for call in message.tool_calls if call.id not in answered)
            if isinstance(message, ToolMessage):
                answered.add(message.call_id)
        return ()

    @property
    def question(self) -> str | None:
        """What the model, or a tool, asks the user; None when the run waits for no answer."""
        asked = [question_text(call) for call in self.pending if is_question(call)]
        asked += [shown_question(its["payload"]) for its in self.questions.values() if "input" not in its]
        return asked[0] if asked else None

    @property
    def turn(self) -> int:
        """How many messages the user has sent."""
        return sum(
            message.turns if isinstance(message, SummaryMessage) else isinstance(message, UserMessage)
            for message in self.messages
        )

    @property
    def turn_requests(self) -> int:
        """How many requests were answered since the user's last message."""
        count = 0
        for index, message in enumerate(reversed(self.messages)):
            if isinstance(message, UserMessage):
                before = self.messages[-index - 2] if index + 2 <= len(self.messages) else None
                return count + (before.turn_replies if isinstance(before, SummaryMessage) else 0)
            count += isinstance(message, AssistantMessage)
        return count

    @property
    def last_user_text(self) -> str | None:
        """What the user said last; None before the first message."""
        return next((m.text for m in reversed(self.messages) if isinstance(m, UserMessage)), None)

    @property
    def answer(self) -> str | None:
        """The answer to the user's last message; None while it is being worked on."""
        last = self.messages[-1] if self.messages else None
        return last.text if isinstance(last, AssistantMessage) and not last.tool_calls else None

    def with_user(self, text: str) -> "AgentState":
        """Give the state with one more message of the user."""
        return replace(self, messages=(*self.messages, UserMessage(text)))

    def with_answers(self, answers: Iterable[ToolMessage]) -> "AgentState":
        """Give the state with answers to open tool calls put in, all of them in the order of the calls."""
        tail: list[ToolMessage] = list(answers)
        head = list(self.messages)
        while head and isinstance(head[-1], ToolMessage):
            last = head.pop()
            assert isinstance(last, ToolMessage)
            tail.append(last)
        said = head[-1] if head else None
        order = [call.id for call in said.tool_calls] if isinstance(said, AssistantMessage) else []
        return replace(self, messages=(*head, *sorted(tail, key=lambda answer: order.index(answer.call_id))))

    def with_input(self, said: Any) -> "AgentState":
        """Give the state with a person's answer to what tools ask: by call id, or one for the first that asks."""
        open_ones = [call_id for call_id, its in self.questions.items() if "input" not in its]
        by_id = said if isinstance(said, Mapping) and any(call_id in said for call_id in open_ones) else None
        if by_id is None:
            text = said["text"] if isinstance(said, Mapping) and set(said) == {"text"} else said
            by_id = {open_ones[0]: text} if open_ones else {}
        answered = {
            call_id: {
                **self.questions[call_id],
                "input": answers_to(self.questions[call_id]["payload"], by_id[call_id]),
            }
            for call_id in open_ones
            if call_id in by_id
        }
        return replace(self, questions={**self.questions, **answered})

    def to_json(self) -> dict[str, Any]:
        """Give the stored form: a JSON object."""
        stored = self._always()
        if self.questions:
            stored["questions"] = {call_id: dict(its) for call_id, its in self.questions.items()}
        if self.tool_table is not None:
            stored["tool_table"] = dict(self.tool_table)
        if self.delegated:
            stored["delegated"] = dict(self.delegated)
            stored["children_usage"] = self.children_usage.to_json()
        return stored

    def _always(self) -> dict[str, Any]:
        return {
            "conversation": dump_messages(self.messages),
            "usage": self.usage.to_json(),
            "setup": dict(self.setup),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "AgentState":
        """Read the stored form.

        Raises:
            MessageFormatError: the conversation was written in a form that this version does not know.
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
