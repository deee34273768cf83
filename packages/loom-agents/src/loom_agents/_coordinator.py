"""The agent's transition: answer the tool calls that are open, then ask the model once.

Theory of operation
-------------------
A model's reply and the work that it asks for must not share a fate. A reply is paid for and cannot be had again word
for word; its tools may run for minutes and may be killed. So the reply ends its step: it is committed, with the tool
calls in it, before any of them starts. The next step begins by answering those calls and then asks the model again:

    step 0:                     ask the model -> wants search_docs
    step 1: run search_docs,    ask the model -> wants read_file, run_tests
    step 2: run both at once,   ask the model -> answers the user, the turn is over

One step is one model request. When a process dies in the middle of step 2, the next one finds the same two calls in
the state: those with a recorded result come out of the runner's ledger, the interrupted one is in doubt and is treated
as its tool declares. The model is not asked again for what it has already said.

What the coordinator promises to a model, whatever happened: every tool call is answered exactly once, by its id, in
the order of the calls (`_calls`). Bad arguments, unknown tools and tools that fail are answers, too; the run goes on.

A question to the user (`ask_user`) stays open: the others are answered, then the run waits for the signal `input`.

Work for other agents (`delegate`) is started when the other calls are answered: the run waits for its children, and
the next step begins with their answers.

A turn ends with an answer to the user. A conversation then waits for the signal `message`, whose payload is the text
or `{"text": ...}`, and goes on with the same state; an errand (`keeps_open=False`, what a child run is) completes.
What may be used is the runner's affair: each reply is reported to `ctx.budget`, and a run that has used up its
budget pauses before the next step.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flow_xray import trace
from loom_runner import Complete, Continue, Fail, RunContext, Spawn, ToolRegistry, Wait

from loom_agents import _compaction as compaction
from loom_agents._calls import answer_calls
from loom_agents._compaction import Split, split, summed_up, tokens_of
from loom_agents._delegation import DELEGATE, Delegation, child_answer, child_usage
from loom_agents._errors import ModelError
from loom_agents._mcp_input import asks_for_input, shown_question
from loom_agents._messages import AssistantMessage, ToolCall, ToolMessage, UserMessage, renumbered, replies_in, storable
from loom_agents._model import Model, ModelReply, ModelRequest, ToolSpec
from loom_agents._questions import ASK_USER, INPUT_SIGNAL, answered, check_question, is_question
from loom_agents._state import AgentState
from loom_agents._step_spans import call_shown, reply_meta, reply_output, request_input

MESSAGE_SIGNAL = "message"

UNKNOWN_PRICE = (
    "the price of a request is not known, so the limit of the cost cannot be kept. Name a model whose price is known,"
    " or limit the tokens instead."
)


class Coordinator:
    """Bring one model and its tools together as a step of a run.

    Args:
        model: answers the requests.
        tools: what the model may call.
        system: standing instructions for the model.
        setup: replaces the `setup` of the state from now on; None leaves it as it is.
        tool_table: a hash of each remote tool, by its name; a run that knew others is told.
        keeps_open: whether the run waits for another message after an answer, or completes with it.
        asks: whether the model may ask the user questions (`ask_user`).
        delegation: whom the model may give work to (`delegate`).
        compact_at_tokens: a conversation longer than this has its beginning summed up, in a step of its own.
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
        """Run one transition on the stored form of an `AgentState`.

        The state is plain JSON here, so that no schema library is needed to read it back.
        """
        before = self._received(AgentState.from_json(state), ctx)
        asked = await self._answered(before, ctx)
        if errands := self._errands(asked):
            assert self._delegation is not None
            children, names = self._delegation.children(errands, asked.delegated)
            return Spawn(replace(asked, delegated=names).to_json(), children)
        if asked.pending:
            return Wait(asked.to_json(), signal=INPUT_SIGNAL)
        if asked.usage.cost_usd is None and ctx.budget.limit.cost_usd is not None:
            return Fail(UNKNOWN_PRICE, error_category="limit")
        if parts := split(asked.messages, self._compact_at):
            return Continue((await self._shortened(asked, parts, ctx)).to_json())
        reply = await self._replied(ModelRequest(self._system, asked.messages, self._specs), ctx)
        taken = [call.id for m in asked.messages if isinstance(m, AssistantMessage) for call in m.tool_calls]
        calls = renumbered(reply.tool_calls, taken)
        said = AssistantMessage(storable(reply.text), calls, reply.model, reply.finish_reason, reply.details)
        after = replace(asked, messages=(*asked.messages, said), usage=asked.usage + reply.usage)
        if calls:
            return Continue(after.to_json())
        if self._keeps_open:
            return Wait(after.to_json(), signal=MESSAGE_SIGNAL)
        return Complete(turn_result(after), state=after.to_json())

    def _received(self, state: AgentState, ctx: RunContext) -> AgentState:
        """Take in what the run was waiting for."""
        if self._setup is not None:
            state = replace(state, setup=self._setup)
        state = self._with_table(state, ctx)
        if ctx.signal is None:
            return state
        payload = ctx.signal.payload
        if ctx.signal.name == INPUT_SIGNAL:
            if any(is_question(call) for call in state.pending):
                return state.with_answers(answered(state.pending, payload))
            return state.with_input(payload)
        return state.with_user(message_text(payload)) if ctx.signal.name == MESSAGE_SIGNAL else state

    async def _answered(self, state: AgentState, ctx: RunContext) -> AgentState:
        """Answer the open calls; what stays open are questions to the user, and errands of other agents."""
        if not state.pending:
            return state
        state = self._with_errands_done(state, ctx)
        calls = tuple(call for call in state.pending if call.id not in state.delegated)
        ctx.emit({"type": "tool_calls", "tool_calls": [call_shown(call) for call in calls]})
        questions = [call for call in calls if self._asks and call.name == ASK_USER.name]
        errands = [call for call in calls if self._delegation and call.name == DELEGATE]
        wrong = [message for call in questions if (message := check_question(call)) is not None]
        wrong += [message for call in errands if (message := self._refused(call)) is not None]
        inputs = {call_id: its["input"] for call_id, its in state.questions.items() if "input" in its}
        ready = [
            call
            for call in calls
            if call not in questions and call not in errands and (call.id in inputs or call.id not in state.questions)
        ]
        done = await answer_calls(tuple(ready), self._tools, ctx, inputs)
        asking = {message.call_id: {"payload": message.payload} for message in done if asks_for_input(message.payload)}
        after = state.with_answers((*wrong, *(message for message in done if message.call_id not in asking)))
        still = {call_id: its for call_id, its in state.questions.items() if call_id not in inputs}
        after = replace(after, questions=still | asking)
        for call_id, its in asking.items():
            ctx.emit({"type": "question", "call_id": call_id, "question": shown_question(its["payload"])})
        for call in after.pending:
            if is_question(call):
                ctx.emit({"type": "question", "call_id": call.id, "question": call.arguments["question"]})
        return after

    def _refused(self, call: ToolCall) -> ToolMessage | None:
        return None if self._delegation is None else self._delegation.check(call)

    def _errands(self, state: AgentState) -> list[ToolCall]:
        """The calls whose runs are to be started."""
        is_open = self._delegation is not None
        return [call for call in state.pending if is_open and call.name == DELEGATE and call.id not in state.delegated]

    def _with_errands_done(self, state: AgentState, ctx: RunContext) -> AgentState:
        """Take in what became of the runs that the step before this one started."""
        done = [call for call in state.pending if call.id in state.delegated]
        found = [(call, ctx.children.get(state.delegated[call.id])) for call in done]
        used = sum((child_usage(child) for _, child in found), state.children_usage)
        return replace(state.with_answers(child_answer(call, child) for call, child in found), children_usage=used)

    def _with_table(self, state: AgentState, ctx: RunContext) -> AgentState:
        """Keep which remote tools the model knows; say so when they are not those of the last step."""
        before, now = state.tool_table, self._tool_table
        if now is None or before == now:
            return state
        if before is not None:
            changed = sorted(name for name in before.keys() & now.keys() if before[name] != now[name])
            added, removed = sorted(now.keys() - before.keys()), sorted(before.keys() - now.keys())
            ctx.emit({"type": "tools_changed", "added": added, "removed": removed, "changed": changed})
        return replace(state, tool_table=now)

    async def _shortened(self, state: AgentState, parts: Split, ctx: RunContext) -> AgentState:
        """Have the beginning of a long conversation summed up."""
        ctx.emit({"type": "compacting", "messages": len(parts.old), "tokens": tokens_of(parts.old)})
        conversation = (*parts.old, UserMessage(compaction.REQUEST))
        request = ModelRequest(compaction.SYSTEM, conversation, earlier_replies=replies_in(parts.kept))
        reply = await self._replied(request, ctx, streams=False)
        messages = summed_up(parts, reply.text, self._compact_at)
        return replace(state, messages=messages, usage=state.usage + reply.usage)

    async def _replied(self, request: ModelRequest, ctx: RunContext, *, streams: bool = True) -> ModelReply:
        """Ask the model, and report what that used."""
        conversation = request_input(request.messages) if trace.active() else None

        def on_delta(text: str) -> None:
            if streams:
                ctx.emit({"type": "text", "text": text})

        with trace.span(self._model.name, kind="llm", input=conversation) as span:
            reply = await self._model.request(request, on_delta=on_delta)
            if not reply.text and not reply.tool_calls:
                raise ModelError(f"cannot go on: {self._model.name} gave an empty reply. Try again.", retryable=True)
            span.set_output(reply_output(reply.text, reply.tool_calls))
            trace.meta(**reply_meta(reply.usage, reply.model or self._model.name, reply.finish_reason))
        ctx.budget.spend(tokens=reply.usage.total_tokens, cost_usd=reply.usage.cost_usd or 0.0)
        return reply


def message_text(payload: Any) -> str:
    """Read what the user says out of the payload of a `message`; a person may have written it by hand."""
    said = payload.get("text") if isinstance(payload, Mapping) else payload
    return said if isinstance(said, str) else json.dumps(payload, ensure_ascii=False)


def turn_result(state: AgentState) -> dict[str, Any]:
    """Give the result of a finished errand: the answer, who gave it, and what the run has used."""
    said = state.messages[-1]
    model = said.model if isinstance(said, AssistantMessage) else ""
    return {"answer": state.answer, "model": model, "turn": state.turn, "usage": state.total_usage.to_json()}
