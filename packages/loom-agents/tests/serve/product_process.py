"""Serve a small product for the tests: `product_process.py DATABASE [PORT]`.

Its model streams three words and calls a tool: `slow` if the message asks for it, else `touch`,
which needs an approval.
"""

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

from loom_agents import AgentError, AgentState, Coordinator, ModelReply, ToolCall, UserMessage
from loom_agents.serve import Decision, NotPermittedError, serve
from loom_runner import AgentRunner, Allow, Ask, LocalEngine, SQLiteStore, ToolRegistry
from loom_runner.cli_base import run_async

tools = ToolRegistry()


@tools.tool("touch")
def touch(text: str) -> str:
    return f"touched {text}"


@tools.tool("slow", read_only=True)
async def slow() -> str:
    await asyncio.sleep(600)
    return "never"


POLICY = {"argv": ["touch", "a file", "it's"], "undo": "untouch", "group": "oncall", "requester": "eve"}


class Model:
    name = "tiny"

    async def request(self, request: Any, *, on_delta: Any) -> ModelReply:
        last = request.messages[-1]
        if not isinstance(last, UserMessage):
            return ModelReply(f"Done: {last.payload}")
        for word in ("I ", "touch ", "it."):
            on_delta(word)
            await asyncio.sleep(0)
        name, arguments = ("slow", {}) if "slow" in last.text else ("touch", {"text": last.text})
        return ModelReply("I touch it.", (ToolCall(f"c{len(request.messages)}", name, arguments),))


class Product:
    name = "tiny <product>"

    def __init__(self, path: str) -> None:
        self.store = SQLiteStore(path)
        self.names = iter(f"run-{number}" for number in range(1000))

    def runner(self, heard: Any) -> AgentRunner:
        step = Coordinator(Model(), tools).step
        return AgentRunner(
            step=step,
            store=self.store,
            tools=tools,
            observers=[heard],
            gate=lambda c: Ask("it touches", policy=POLICY) if c.name == "touch" else Allow(),
        )

    async def start(self, run_id: str, request: Mapping[str, Any], heard: Any, caller: Any) -> None:
        if not isinstance(request.get("message"), str):
            raise AgentError("cannot start: there is no message. Say something.")
        state = AgentState().with_user(request["message"]).to_json()
        await self.runner(heard).start(run_id=run_id, initial_state=state)

    async def send_message(self, run_id: str, message: str, heard: Any) -> None:
        runner = self.runner(heard)
        await runner.signal(run_id=run_id, name="message", payload=message)
        await runner.resume(run_id=run_id)

    async def resume(self, run_id: str, heard: Any) -> None:
        await self.runner(heard).resume(run_id=run_id)

    prompt = "What shall I touch?"

    async def decide(self, request: Mapping[str, Any], decision: Decision, caller: Any) -> dict[str, Any]:
        name = f"{request['run_id']}#{request['number']}"
        if request["arguments"]["text"] == "the crown" and decision.kind != "deny":
            raise NotPermittedError(f"cannot {decision.kind} {name}: {caller.name} may not touch the crown.")
        return await LocalEngine(self.store).decide(
            run_id=request["run_id"],
            number=request["number"],
            how=decision.kind,
            by=caller.name,
            via="http",
            note=decision.note,
            arguments=decision.arguments,
        )

    def new_run_id(self) -> str:
        return next(self.names)

    def summary(self, run: Mapping[str, Any]) -> dict[str, Any]:
        state = AgentState.from_json(run["state"])
        answered = run["status"] == "waiting" and state.answer is not None
        return {
            "title": state.last_user_text,
            "display_status": "answered" if answered else run["status"],
            "accepts_messages": True,
        }

    def details(self, run: Mapping[str, Any]) -> dict[str, Any]:
        state = AgentState.from_json(run["state"])
        return {"messages": state.to_json()["conversation"]["messages"], "answer": state.answer, "question": None}


if __name__ == "__main__":
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    work = serve(Product(sys.argv[1]), port=port, on_ready=lambda address, token: print(address, token, flush=True))
    run_async(work)
