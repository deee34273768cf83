"""The step of an agent: answer the open tool calls, then send one request to the model.

Theory of operation
-------------------
A model's reply and the tool calls in it must not be committed together. A reply costs money and
cannot be reproduced; its tools may run for minutes and may be killed. So a step ends with the
reply: it is committed, with the tool calls in it, before any of them starts. The next step runs
these calls first and then sends the next request:

    step 0:                     ask the model -> calls search_docs
    step 1: run search_docs,    ask the model -> calls read_file, run_tests
    step 2: run both at once,   ask the model -> answers the user, the turn is over

One step is one model request. When a process crashes during step 2, the next one finds the same two
calls in the state: recorded results are read from the runner's ledger, and the interrupted call is
in doubt and handled as its tool declares. A request whose reply is committed is never repeated.

The coordinator guarantees that every tool call is answered exactly once, by its id, in the order of
the calls (`tool_calls`). For invalid arguments, unknown tools and failed tools the answer is an
error, and the run continues.

A question to the user (`ask_user`) stays open: the other calls are answered, then the run waits for
the signal `input`.

Tasks for other agents (`delegate`) start after the other calls are answered: the run waits for its
children, and the next step starts with their answers.

A turn ends with an answer to the user. A conversation then waits for the signal `message`, whose
payload is the text or `{"text": ...}`, and continues with the same state; with `keeps_open=False`,
as in a child run, the run completes instead. Limits are enforced by the runner: each reply is
reported to `ctx.budget`, and a run that has used up its budget pauses before the next step.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flow_xray import trace
from loom_runner import Complete, Continue, Fail, RunContext, Spawn, ToolRegistry, Wait

from loom_agents._agent import compaction
from loom_agents._agent.compaction import Split, split, tokens_of, with_summary
from loom_agents._agent.delegation import DELEGATE, Delegation, child_answer, child_usage
from loom_agents._agent.spans import reply_meta, reply_output, request_input
from loom_agents._agent.state import AgentState
from loom_agents._agent.tool_calls import answer_calls
from loom_agents._agent.user_questions import ASK_USER, INPUT_SIGNAL, answer_questions, check_question, is_question
from loom_agents._errors import ModelError
from loom_agents._models.masked_replies import MaskedText, masked_reply
from loom_agents._models.messages import (
    AssistantMessage,
    ToolCall,
    ToolMessage,
    UserMessage,
    call_json,
    renumbered,
    replies_in,
    storable,
)
from loom_agents._models.protocol import Model, ModelReply, ModelRequest, ToolSpec
from loom_agents._tools.input_requests import asks_for_input, input_question

MESSAGE_SIGNAL = "message"

UNKNOWN_COST = (
    "the price of a request is unknown, so the cost limit cannot be enforced. Use a model with a known price,"
    " or limit the tokens instead."
)


class Coordinator:
    """Combine one model and its tools into the step of a run.

    Args:
        model: Answers the requests.
        tools: The tools that the model may call.
        system: The system prompt.
        setup: Replaces the `setup` of the state; None keeps it.
        tool_table: A hash of each remote tool, by its name; a run emits an event when they have
            changed.
        keeps_open: Whether the run waits for another message after an answer, or completes with it.
        asks: Whether the model may ask the user questions (`ask_user`).
        delegation: The agents that the model may delegate to (`delegate`).
        compact_at_tokens: The length above which the beginning of a conversation is summarized in a
            separate step.
    """

    def __init__(
        self,
        model: Model,
        tools: ToolRegistry,
        *,
        system: str = "",
        setup: Mapping[str, Any] | None = None,
        keeps_open: bool = True,
        asks: bool = False,
        tool_table: Mapping[str, str] | None = None,
        delegation: Delegation | None = None,
        compact_at_tokens: int = compaction.COMPACT_AT_TOKENS,
    ) -> None:
        self._model = model
        self._tools = tools
        self._system = system
        self._setup = setup
        self._tool_table = tool_table
        self._keeps_open = keeps_open
        specs = [ToolSpec(tool.name, tool.description, tool.schema()) for tool in tools]
        self._asks = asks
        self._delegation = delegation
        self._compact_at = compact_at_tokens
        self._specs = (*specs, *([ASK_USER] if asks else []), *([delegation.spec()] if delegation else []))

    async def step(self, state: Any, ctx: RunContext) -> Continue[Any] | Wait[Any] | Spawn[Any] | Complete[Any] | Fail:
        """Run one step on the stored form of an `AgentState`.

        The state is plain JSON here, so that no schema library is needed to read it.
        """
        before = self._receive(AgentState.from_json(state), ctx)
        answered = await self._answer_calls(before, ctx)
        if tasks := self._new_tasks(answered):
            assert self._delegation is not None
            children, names = self._delegation.children(tasks, answered.delegated)
            return Spawn(replace(answered, delegated=names).to_json(), children)
        if answered.pending:
            return Wait(answered.to_json(), signal=INPUT_SIGNAL)
        if answered.usage.cost_usd is None and ctx.budget.limit.cost_usd is not None:
            return Fail(UNKNOWN_COST, error_category="limit")
        if parts := split(answered.messages, self._compact_at):
            return Continue((await self._compact(answered, parts, ctx)).to_json())
        reply = await self._request(ModelRequest(self._system, answered.messages, self._specs), ctx)
        taken = [call.id for m in answered.messages if isinstance(m, AssistantMessage) for call in m.tool_calls]
        # A summary may have replaced the messages with earlier calls; those that started a child
        # are in `delegated`.
        calls = renumbered(reply.tool_calls, [*taken, *answered.delegated])
        message = AssistantMessage(storable(reply.text), calls, reply.model, reply.finish_reason, reply.details)
        after = replace(answered, messages=(*answered.messages, message), usage=answered.usage + reply.usage)
        if calls:
            return Continue(after.to_json())
        if self._keeps_open:
            return Wait(after.to_json(), signal=MESSAGE_SIGNAL)
        return Complete(turn_result(after), state=after.to_json())

    def _receive(self, state: AgentState, ctx: RunContext) -> AgentState:
        """Add the signal that the run waited for to the state."""
        if self._setup is not None:
            state = replace(state, setup=self._setup)
        state = self._with_tool_table(state, ctx)
        if ctx.signal is None:
            return state
        payload = ctx.signal.payload
        if ctx.signal.name == INPUT_SIGNAL:
            if any(is_question(call) for call in state.pending):
                return state.with_answers(answer_questions(state.pending, payload))
            return state.with_input(payload)
        return state.with_user(message_text(payload)) if ctx.signal.name == MESSAGE_SIGNAL else state

    async def _answer_calls(self, state: AgentState, ctx: RunContext) -> AgentState:
        """Answer the open calls; questions to the user and tasks for other agents stay open."""
        if not state.pending:
            return state
        state = self._with_child_answers(state, ctx)
        calls = tuple(call for call in state.pending if call.id not in state.delegated)
        ctx.emit({"type": "tool_calls", "tool_calls": [call_json(call) for call in calls]})
        questions = [call for call in calls if self._asks and call.name == ASK_USER.name]
        tasks = [call for call in calls if self._delegation and call.name == DELEGATE]
        errors = [message for call in questions if (message := check_question(call)) is not None]
        errors += [message for call in tasks if (message := self._check_task(call)) is not None]
        inputs = {call_id: entry["input"] for call_id, entry in state.questions.items() if "input" in entry}
        ready = [
            call
            for call in calls
            if call not in questions and call not in tasks and (call.id in inputs or call.id not in state.questions)
        ]
        done = await answer_calls(tuple(ready), self._tools, ctx, inputs)
        asking = {message.call_id: {"payload": message.payload} for message in done if asks_for_input(message.payload)}
        after = state.with_answers((*errors, *(message for message in done if message.call_id not in asking)))
        unanswered = {call_id: entry for call_id, entry in state.questions.items() if call_id not in inputs}
        after = replace(after, questions=unanswered | asking)
        for call_id, entry in asking.items():
            ctx.emit({"type": "question", "call_id": call_id, "question": input_question(entry["payload"])})
        for call in after.pending:
            if is_question(call):
                ctx.emit({"type": "question", "call_id": call.id, "question": call.arguments["question"]})
        return after

    def _check_task(self, call: ToolCall) -> ToolMessage | None:
        return None if self._delegation is None else self._delegation.check(call)

    def _new_tasks(self, state: AgentState) -> list[ToolCall]:
        """Return the `delegate` calls without a child run."""
        if self._delegation is None:
            return []
        return [call for call in state.pending if call.name == DELEGATE and call.id not in state.delegated]

    def _with_child_answers(self, state: AgentState, ctx: RunContext) -> AgentState:
        """Answer the calls whose child runs the previous step started."""
        done = [call for call in state.pending if call.id in state.delegated]
        found = [(call, ctx.children.get(state.delegated[call.id])) for call in done]
        used = sum((child_usage(child) for _, child in found), state.children_usage)
        return replace(state.with_answers(child_answer(call, child) for call, child in found), children_usage=used)

    def _with_tool_table(self, state: AgentState, ctx: RunContext) -> AgentState:
        """Record the remote tools that the model knows; emit an event when they have changed."""
        before, now = state.tool_table, self._tool_table
        if now is None or before == now:
            return state
        if before is not None:
            changed = sorted(name for name in before.keys() & now.keys() if before[name] != now[name])
            added, removed = sorted(now.keys() - before.keys()), sorted(before.keys() - now.keys())
            ctx.emit({"type": "tools_changed", "added": added, "removed": removed, "changed": changed})
        return replace(state, tool_table=now)

    async def _compact(self, state: AgentState, parts: Split, ctx: RunContext) -> AgentState:
        """Have the model summarize the beginning of a long conversation."""
        ctx.emit({"type": "compacting", "messages": len(parts.old), "tokens": tokens_of(parts.old)})
        conversation = (*parts.old, UserMessage(compaction.REQUEST))
        request = ModelRequest(compaction.SYSTEM, conversation, earlier_replies=replies_in(parts.kept))
        reply = await self._request(request, ctx, streams=False)
        messages = with_summary(parts, reply.text, self._compact_at)
        return replace(state, messages=messages, usage=state.usage + reply.usage)

    async def _request(self, request: ModelRequest, ctx: RunContext, *, streams: bool = True) -> ModelReply:
        """Send one request to the model, traced, and report its usage to the budget."""
        conversation = request_input(request.messages) if trace.active() else None

        def emit(text: str) -> None:
            if streams:
                ctx.emit({"type": "text", "text": text})

        shown = MaskedText(emit)
        with trace.span(self._model.name, kind="llm", input=conversation) as span:
            reply = masked_reply(await self._model.request(request, on_delta=shown.add))
            shown.end()
            if not reply.text and not reply.tool_calls:
                raise ModelError(f"cannot continue: {self._model.name} sent an empty reply. Try again.", retryable=True)
            span.set_output(reply_output(reply.text, reply.tool_calls))
            trace.meta(**reply_meta(reply.usage, reply.model or self._model.name, reply.finish_reason))
        ctx.budget.spend(tokens=reply.usage.total_tokens, cost_usd=reply.usage.cost_usd or 0.0)
        return reply


def message_text(payload: Any) -> str:
    """Return the user's text in the payload of a `message` signal, which may be any JSON."""
    text = payload.get("text") if isinstance(payload, Mapping) else payload
    return text if isinstance(text, str) else json.dumps(payload, ensure_ascii=False)


def turn_result(state: AgentState) -> dict[str, Any]:
    """Return the result of a completed run: the answer, its model, and the usage of the run."""
    last = state.messages[-1]
    model = last.model if isinstance(last, AssistantMessage) else ""
    return {"answer": state.answer, "model": model, "turn": state.turn, "usage": state.total_usage.to_json()}
