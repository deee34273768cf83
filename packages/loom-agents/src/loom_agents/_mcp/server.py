"""One MCP server: started, listened to, called, and started again when it dies.

Theory of operation
-------------------
A connection of the SDK is a set of nested cancel scopes, and a scope must be left by the task that entered it. So
every server has one task, its owner, that enters the connection, waits, and leaves it; nobody else does either:

    owner:   start ──> list all tools ──> ready ──(died)──> wait ──> start ...
                └─> failed                  └──(stopped)──> left

Callers only borrow the connection of the life at hand. A call that meets a dead server ends at once; what that means
depends on how far it got:

    before it was sent               the server is not running: the model is told so
    sent, the tool may be repeated   made once more, in the next life
    sent, the tool may not           nobody knows whether it took effect: in doubt, as after a crash of our own

Not covered: when we are killed with SIGKILL, a server learns of it by the end of its stdin, as the protocol has it; one
that never reads that goes on alone.
"""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias

from loom_runner import OutcomeUnknown, ToolFailed

from loom_agents._mcp.config import McpServerConfig
from loom_agents._mcp.stderr_tail import LastWords

if TYPE_CHECKING:
    from mcp import Client
    from mcp.client import ClientRequestContext
    from mcp_types import CallToolResult, ElicitRequestParams, ElicitResult, InputRequiredResult
    from mcp_types import Tool as McpTool

__all__ = ["McpServer", "OnProgress", "ServerState"]

ServerState: TypeAlias = Literal["starting", "ready", "waiting", "failed", "stopped"]


class OnProgress(Protocol):
    """Is told how far a call has come, in the server's own units."""

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None:
        """Take one report."""


MAX_PAGES: Final = 200
MAX_RESTARTS: Final = 5
_BACK_OFF_S: Final = (0.0, 1.0, 2.0, 4.0, 8.0)
_STEADY_S: Final = 60.0  # after this long a life counts as a good one, and the back-off begins anew


class _Unusable(Exception):  # noqa: N818 - it never leaves this module
    """Say why a start did not succeed."""


@dataclass(slots=True)
class _Life:
    """Hold one connection, from its start to its end."""

    client: "Client"
    ended: asyncio.Event
    why: str = ""

    def end(self, why: str) -> None:
        self.why = self.why or why
        self.ended.set()


class McpServer:
    """Hold one server for as long as the loop runs. `start` it, and `stop` it in the end.

    Attributes:
        config: How it is reached.
        state: Whether it can be called.
        reason: Why not.
        tools: What it offered at its first start.
        info: Its own name and version, and the protocol that is spoken.
        stderr: Its last words.
        started_in_s: How long its last start took.
    """

    def __init__(self, config: McpServerConfig) -> None:
        self.config = config
        self.state: ServerState = "starting"
        self.reason = ""
        self.tools: tuple[McpTool, ...] = ()
        self.info = ""
        self.stderr = LastWords()
        self.started_in_s = 0.0
        self._life: _Life | None = None
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()
        self._next_start_at = 0.0
        self._owner: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the server; return when it can be called or when that has failed, which is not an error."""
        self._owner = asyncio.create_task(self._own(), name=f"mcp-server-{self.config.name}")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.config.start_timeout_s + 0.1):
                while self.state == "starting":
                    await self._next_change()
        if self.state == "starting":  # its owner is still busy with getting rid of its process
            self.reason = self._too_slow()
            self._become("failed")

    async def stop(self) -> None:
        """End the server. Its process is gone when this returns."""
        self._stopping.set()
        if self._owner is not None:
            await asyncio.wait({self._owner})

    async def call(
        self,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        is_repeatable: bool,
        answers: Mapping[str, Any] | None = None,
        on_progress: OnProgress | None = None,
    ) -> "CallToolResult | InputRequiredResult":
        """Call a tool by the server's own name.

        Args:
            tool: Its name.
            arguments: Checked against the tool's schema by the caller.
            is_repeatable: Whether a call that was cut off may be made again.
            answers: `responses` and `request_state` of an earlier round (see `_mcp_input`).
            on_progress: Told how far the call has come.

        Raises:
            ToolFailed: With the category `unavailable`, `timeout`, `refused` or `bad_result`.
            OutcomeUnknown: It was cut off and may not be repeated.
        """
        from mcp import MCPError
        from mcp_types import CONNECTION_CLOSED, HEADER_MISMATCH, REQUEST_TIMEOUT

        relisted = False
        for is_last in (not is_repeatable, True):
            life = await self._alive(tool)
            try:
                return await self._asked(life, tool, arguments, answers, on_progress)
            except MCPError as exc:
                if exc.code == HEADER_MISMATCH and not relisted:
                    relisted = True
                    await life.client.list_tools(cache_mode="refresh")
                    return await self._asked(life, tool, arguments, answers, on_progress)
                if exc.code == REQUEST_TIMEOUT:
                    raise self._cut_off(
                        tool, f"it gave no answer within {self.config.timeout_s:g} s", is_repeatable
                    ) from exc
                if exc.code != CONNECTION_CLOSED:
                    raise ToolFailed(f"the MCP server refused: {exc.message}", error_category="refused") from exc
                life.end("it closed the connection")
            except RuntimeError as exc:  # the SDK's word for an answer that breaks the tool's own output schema
                raise ToolFailed(f"the MCP server gave a wrong answer: {exc}", error_category="bad_result") from exc
            if is_last:
                break
            await self._next_start(life)
        raise self._cut_off(tool, "it ended in the middle of the call", is_repeatable)

    # ------------------------------------------------------------------ for callers

    async def _asked(
        self,
        life: _Life,
        tool: str,
        arguments: Mapping[str, Any],
        answers: Mapping[str, Any] | None,
        on_progress: OnProgress | None,
    ) -> "CallToolResult | InputRequiredResult":
        from mcp_types import ElicitResult

        responses: Any = None
        if answers is not None:
            responses = {key: ElicitResult.model_validate(said) for key, said in answers["responses"].items()} or None
        return await life.client.session.call_tool(
            tool,
            dict(arguments),
            self.config.timeout_s,
            on_progress,
            input_responses=responses,
            request_state=None if answers is None else answers["request_state"],
            allow_input_required=True,
        )

    async def _alive(self, tool: str) -> _Life:
        """Give the life at hand; wait for a start that is under way, not for one that is still to come."""
        while self.state == "starting" or (self._life is not None and self._life.ended.is_set()):
            await self._next_change()
        if self._life is not None:
            return self._life
        again = ""
        if self.state == "waiting":
            again = f" It is started again in {max(0.0, self._next_start_at - time.monotonic()):.0f} s."
        raise ToolFailed(
            f"cannot call {tool}: the MCP server {self.config.name!r} is not running ({self.reason}).{again}"
            " Go on without it.",
            error_category="unavailable",
        )

    def _cut_off(self, tool: str, why: str, is_repeatable: bool) -> ToolFailed | OutcomeUnknown:
        text = f"the MCP server {self.config.name!r} was called and {why}"
        if is_repeatable:
            return ToolFailed(text, error_category="timeout" if "within" in why else "unavailable")
        return OutcomeUnknown(f"{text}; nobody knows whether {tool} took effect")

    async def _next_start(self, before: _Life) -> None:
        """Wait until the life before is over and the next has begun, or will not begin soon."""
        while self._life is before or self.state == "starting":
            await self._next_change()

    # ------------------------------------------------------------------ the owner

    async def _own(self) -> None:
        restarts = 0
        try:
            while not self._stopping.is_set():
                began = time.monotonic()
                was_ready = await self._live()
                if not was_ready and not self.info:
                    return  # it never worked, so trying again would not help
                restarts = 0 if was_ready and time.monotonic() - began > _STEADY_S else restarts
                if restarts >= MAX_RESTARTS:
                    self.reason = f"{self.reason}; it was started again {restarts} times"
                    return
                delay = _BACK_OFF_S[restarts]
                restarts += 1
                self._next_start_at = time.monotonic() + delay
                if delay:
                    self._become("waiting")
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._stopping.wait(), delay)
                self._become("starting")
        finally:
            if self._stopping.is_set():
                self.reason = "it was stopped"
            self._become("stopped" if self._stopping.is_set() else "failed")

    async def _live(self) -> bool:
        """Start the server and stay with it to its end; say whether it could be called in between."""
        import anyio

        began, is_ready, life = time.monotonic(), False, None
        try:
            with anyio.CancelScope(deadline=anyio.current_time() + self.config.start_timeout_s) as start:
                async with self._connected() as client:
                    tools = await self._listed(client)
                    start.deadline = math.inf
                    self.tools = self.tools or tools
                    self.info = _introduced(client)
                    self.started_in_s = time.monotonic() - began
                    is_ready = True
                    life = self._life = _Life(client, asyncio.Event())
                    self.reason = ""
                    self._become("ready")
                    await self._until_end(life)
                    self._life = None
                    self.reason = life.why
                    if not self._stopping.is_set():
                        self._become("starting")
            if start.cancelled_caught:
                self.reason = self._too_slow()
        except Exception as exc:
            self._life = None
            if not is_ready:
                self.reason = _why(exc)
            logging.getLogger("loom_agents.mcp").debug("server %s ended", self.config.name, exc_info=True)
        return is_ready

    def _too_slow(self) -> str:
        return f"it gave no answer within {self.config.start_timeout_s:g} s"

    async def _until_end(self, life: _Life) -> None:
        """Wait until the life is over. When only its stderr has ended, ask the server whether it lives."""
        events = [life.ended, self._stopping]
        if self.config.transport == "stdio":
            events.append(self.stderr.ended)
        waits = [asyncio.create_task(event.wait()) for event in events]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if not (life.ended.is_set() or self._stopping.is_set() or await self._answers(life)):
                life.end("its process ended")
            await asyncio.wait(waits[:2], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _answers(self, life: _Life) -> bool:
        from mcp import MCPError
        from mcp_types import CONNECTION_CLOSED

        try:
            await life.client.list_tools()
        except MCPError as exc:
            return exc.code != CONNECTION_CLOSED
        return True

    @asynccontextmanager
    async def _connected(self) -> "AsyncIterator[Client]":
        import httpx2
        from mcp import Client, StdioServerParameters
        from mcp.client.stdio import stdio_client
        from mcp.client.streamable_http import streamable_http_client

        config = self.config
        async with AsyncExitStack() as stack:
            if config.transport == "stdio":
                given = await stack.enter_async_context(self.stderr.listening())
                parameters = StdioServerParameters(
                    command=config.command[0], args=list(config.command[1:]), env=dict(config.env), cwd=config.cwd
                )
                transport = stdio_client(parameters, errlog=given)  # type: ignore[arg-type]  # any file with a number
            else:
                given = None
                timeout = httpx2.Timeout(min(30.0, config.start_timeout_s), read=config.timeout_s + 5)
                http = httpx2.AsyncClient(headers=dict(config.headers), timeout=timeout)
                transport = streamable_http_client(config.url, http_client=await stack.enter_async_context(http))
            client = await stack.enter_async_context(Client(transport, elicitation_callback=_declined, cache=None))
            if given is not None:
                given.close()  # so that the server's death is the end of its stderr
            yield client

    async def _listed(self, client: "Client") -> "tuple[McpTool, ...]":
        if client.server_capabilities.tools is None:
            return ()
        tools: list[McpTool] = []
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            page = await client.list_tools(cursor=cursor)
            tools += page.tools
            if not page.next_cursor or page.next_cursor == cursor:
                return tuple(tools)
            cursor = page.next_cursor
        raise _Unusable(f"its list of tools has more than {MAX_PAGES} pages")

    def _become(self, state: ServerState) -> None:
        self.state = state
        self._changed.set()
        self._changed = asyncio.Event()

    async def _next_change(self) -> None:
        await self._changed.wait()


async def _declined(context: "ClientRequestContext", params: "ElicitRequestParams") -> "ElicitResult":
    """Answer a question that an old server asks in the middle of a call, where nobody can wait for a person."""
    from mcp_types import ElicitResult

    del context, params
    return ElicitResult(action="decline")


def _introduced(client: "Client") -> str:
    info = client.server_info
    who = f"{info.name} {info.version}".strip() if info else "a server without a name"
    return f"{who}, protocol {client.protocol_version}"


def _why(exc: BaseException) -> str:
    """Say in a few words what stopped a start, from the innermost error of a group."""
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    if isinstance(exc, FileNotFoundError):
        return f"there is no program {exc.filename!r}"
    if isinstance(exc, PermissionError):
        return f"{exc.filename!r} cannot be run: {exc.strerror}"
    if hasattr(exc, "errors") and (wrong := exc.errors(include_url=False)):  # of pydantic
        where = ".".join(map(str, wrong[0]["loc"]))
        return f"it answered what the protocol does not allow ({where}: {wrong[0]['msg'].lower()})"
    text = " ".join(str(exc).split())[:300]
    return text if isinstance(exc, _Unusable) else f"{type(exc).__name__}: {text}" if text else type(exc).__name__
