"""One MCP server: start it, call its tools, and restart it when it exits.

Theory of operation
-------------------
A connection of the SDK consists of nested cancel scopes, and a scope must be exited by the task
that entered it. So every server has one task, its supervisor, that opens the connection, waits, and
closes it; no other task does that:

    supervisor:   start ──> list all tools ──> ready ──(exited)──> wait ──> start ...
                     └─> failed                  └──(stopped)──> closed

Callers use the current connection. A call to a server that has exited fails at once; the result
depends on how far the call got:

    not sent                         an error for the model: the server is not running
    sent, the tool is repeatable     the call is sent once more, on the next connection
    sent, the tool is not            the call is in doubt, as after a crash of this process

Not covered: when this process is killed with SIGKILL, a server notices the end of its stdin, as the
protocol specifies; a server that does not read its stdin keeps running.
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

from loom_agents._mcp.bounded_schemas import check_results
from loom_agents._mcp.config import McpServerConfig
from loom_agents._mcp.results import shortened
from loom_agents._mcp.stderr_tail import StderrTail

if TYPE_CHECKING:
    from mcp import Client
    from mcp.client import ClientRequestContext
    from mcp_types import CallToolResult, ElicitRequestParams, ElicitResult, InputRequiredResult
    from mcp_types import Tool as McpTool

__all__ = ["McpServer", "OnProgress", "ServerState"]

ServerState: TypeAlias = Literal["starting", "ready", "waiting", "failed", "stopped"]

_NO_LOG: Final = logging.NullHandler()


class OnProgress(Protocol):
    """A function that receives progress reports of a call, in units that the server chooses."""

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None:
        """Receive one report."""


MAX_PAGES: Final = 200
MAX_RESTARTS: Final = 5
_RESTART_DELAYS_S: Final = (0.0, 1.0, 2.0, 4.0, 8.0)
_STABLE_S: Final = 60.0  # a connection of this length resets the count of restarts


class _StartError(Exception):
    """Report why a start failed."""


@dataclass(slots=True)
class _Connection:
    """Hold one connection to the server, from a start to the next exit."""

    client: "Client"
    ended: asyncio.Event
    reason: str = ""

    def end(self, reason: str) -> None:
        self.reason = self.reason or reason
        self.ended.set()


class McpServer:
    """Manage one server within an event loop: call `start` first and `stop` at the end.

    Attributes:
        config: How to connect to it.
        state: Its state; calls are possible when it is `ready`.
        reason: Why it is not ready.
        tools: The tools that it listed at its first start.
        info: The name and version that it reports, and the version of the protocol.
        stderr: The end of its output on stderr.
        started_in_s: How long its last start took.
    """

    def __init__(self, config: McpServerConfig) -> None:
        self.config = config
        self.state: ServerState = "starting"
        self.reason = ""
        self.tools: tuple[McpTool, ...] = ()
        self.info = ""
        self.stderr = StderrTail()
        self.started_in_s = 0.0
        self._connection: _Connection | None = None
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()
        self._restarts_at = 0.0
        self._supervisor: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the server and return when it is ready or has failed (see `state` and `reason`)."""
        self._supervisor = asyncio.create_task(self._supervise(), name=f"mcp-server-{self.config.name}")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.config.start_timeout_s + 0.1):
                while self.state == "starting":
                    await self._next_change()
        if self.state == "starting":  # the supervisor is still ending the server's process
            self.reason = self._start_timeout()
            self._set_state("failed")

    async def stop(self) -> None:
        """Stop the server. Its process has exited when this returns."""
        self._stopping.set()
        if self._supervisor is not None:
            await asyncio.wait({self._supervisor})

    async def call(
        self,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        is_repeatable: bool,
        answers: Mapping[str, Any] | None = None,
        on_progress: OnProgress | None = None,
    ) -> "CallToolResult | InputRequiredResult":
        """Call a tool.

        Args:
            tool: The server's name of the tool.
            arguments: The arguments, already validated against the tool's schema.
            is_repeatable: Whether an interrupted call may be sent again.
            answers: `responses` and `request_state` of an earlier round (see
                `_tools.input_requests`).
            on_progress: Receives the progress reports of the call.

        Raises:
            ToolFailed: With the category `unavailable`, `timeout`, `refused` or `bad_result`.
            OutcomeUnknown: The call was interrupted and is not repeatable.
        """
        from mcp import MCPError
        from mcp_types import CONNECTION_CLOSED, HEADER_MISMATCH, REQUEST_TIMEOUT

        relisted = False
        for is_last in (not is_repeatable, True):
            connection = await self._connection_for(tool)
            try:
                return await self._send_call(connection, tool, arguments, answers, on_progress)
            except MCPError as exc:
                if exc.code == HEADER_MISMATCH and not relisted:
                    relisted = True
                    await connection.client.list_tools(cache_mode="refresh")
                    return await self._send_call(connection, tool, arguments, answers, on_progress)
                if exc.code == REQUEST_TIMEOUT:
                    problem = f"did not answer within {self.config.timeout_s:g} s"
                    raise self._interruption(tool, problem, "timeout", is_repeatable) from exc
                if exc.code != CONNECTION_CLOSED:
                    reason = shortened(exc.message)
                    raise ToolFailed(f"the MCP server refused: {reason}", error_category="refused") from exc
                connection.end("it closed the connection")
            except RuntimeError as exc:  # of the SDK: the result does not match the tool's output schema
                reason = shortened(str(exc))
                raise ToolFailed(
                    f"the MCP server sent an invalid result: {reason}", error_category="bad_result"
                ) from exc
            if is_last:
                break
            await self._next_connection(connection)
        raise self._interruption(tool, "exited during the call", "unavailable", is_repeatable)

    # ------------------------------------------------------------------ calls

    async def _send_call(
        self,
        connection: _Connection,
        tool: str,
        arguments: Mapping[str, Any],
        answers: Mapping[str, Any] | None,
        on_progress: OnProgress | None,
    ) -> "CallToolResult | InputRequiredResult":
        from mcp_types import ElicitResult

        responses: Any = None
        if answers is not None:
            responses = {
                key: ElicitResult.model_validate(response) for key, response in answers["responses"].items()
            } or None
        return await connection.client.session.call_tool(
            tool,
            dict(arguments),
            self.config.timeout_s,
            on_progress,
            input_responses=responses,
            request_state=None if answers is None else answers["request_state"],
            allow_input_required=True,
        )

    async def _connection_for(self, tool: str) -> _Connection:
        """Return the current connection; wait for a start in progress, but not for a delay."""
        while self.state == "starting" or (self._connection is not None and self._connection.ended.is_set()):
            await self._next_change()
        if self._connection is not None:
            return self._connection
        restart = ""
        if self.state == "waiting":
            restart = f" It restarts in {max(0.0, self._restarts_at - time.monotonic()):.0f} s."
        raise ToolFailed(
            f"cannot call {tool}: the MCP server {self.config.name!r} is not running ({self.reason}).{restart}"
            " Continue without it.",
            error_category="unavailable",
        )

    def _interruption(self, tool: str, problem: str, category: str, is_repeatable: bool) -> ToolFailed | OutcomeUnknown:
        text = f"the MCP server {self.config.name!r} {problem}"
        if is_repeatable:
            return ToolFailed(text, error_category=category)
        return OutcomeUnknown(f"{text}; it is unknown whether {tool} took effect")

    async def _next_connection(self, previous: _Connection) -> None:
        """Wait until the previous connection is closed and no start is in progress."""
        while self._connection is previous or self.state == "starting":
            await self._next_change()

    # ------------------------------------------------------------------ the supervisor

    async def _supervise(self) -> None:
        restarts = 0
        try:
            while not self._stopping.is_set():
                started_at = time.monotonic()
                was_ready = await self._run_once()
                if not was_ready and not self.info:
                    return  # it never worked, so a restart would not help
                restarts = 0 if was_ready and time.monotonic() - started_at > _STABLE_S else restarts
                if restarts >= MAX_RESTARTS:
                    self.reason = f"{self.reason}; it was restarted {restarts} times"
                    return
                delay = _RESTART_DELAYS_S[restarts]
                restarts += 1
                self._restarts_at = time.monotonic() + delay
                if delay:
                    self._set_state("waiting")
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._stopping.wait(), delay)
                self._set_state("starting")
        finally:
            if self._stopping.is_set():
                self.reason = "it was stopped"
            self._set_state("stopped" if self._stopping.is_set() else "failed")

    async def _run_once(self) -> bool:
        """Start the server and wait until it exits or is stopped; return whether it was ready."""
        import anyio

        started_at, is_ready = time.monotonic(), False
        try:
            with anyio.CancelScope(deadline=anyio.current_time() + self.config.start_timeout_s) as start:
                async with self._connect() as client:
                    tools = await self._list_tools(client)
                    start.deadline = math.inf
                    self.tools = self.tools or tools
                    self.info = _description(client)
                    self.started_in_s = time.monotonic() - started_at
                    is_ready = True
                    connection = self._connection = _Connection(client, asyncio.Event())
                    self.reason = ""
                    self._set_state("ready")
                    await self._wait_for_end(connection)
                    self._connection = None
                    self.reason = connection.reason
                    if not self._stopping.is_set():
                        self._set_state("starting")
            if start.cancelled_caught:
                self.reason = self._start_timeout()
        except Exception as exc:
            self._connection = None
            if not is_ready:
                self.reason = _start_failure(exc)
            logging.getLogger("loom_agents.mcp").debug("server %s ended", self.config.name, exc_info=True)
        return is_ready

    def _start_timeout(self) -> str:
        return f"it did not answer within {self.config.start_timeout_s:g} s"

    async def _wait_for_end(self, connection: _Connection) -> None:
        """Wait until the connection ends; when only stderr has ended, find out by a request."""
        events = [connection.ended, self._stopping]
        if self.config.transport == "stdio":
            events.append(self.stderr.ended)
        waits = [asyncio.create_task(event.wait()) for event in events]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if not (connection.ended.is_set() or self._stopping.is_set() or await self._responds(connection)):
                connection.end("its process exited")
            await asyncio.wait(waits[:2], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _responds(self, connection: _Connection) -> bool:
        from mcp import MCPError
        from mcp_types import CONNECTION_CLOSED

        try:
            await connection.client.list_tools()
        except MCPError as exc:
            return exc.code != CONNECTION_CLOSED
        return True

    @asynccontextmanager
    async def _connect(self) -> "AsyncIterator[Client]":
        import httpx2
        from mcp import Client, StdioServerParameters
        from mcp.client.stdio import stdio_client
        from mcp.client.streamable_http import streamable_http_client

        config = self.config
        logging.getLogger("mcp").addHandler(_NO_LOG)  # of text from the server, with tracebacks, to the terminal
        async with AsyncExitStack() as stack:
            if config.transport == "stdio":
                stderr = await stack.enter_async_context(self.stderr.capture())
                parameters = StdioServerParameters(
                    command=config.command[0], args=list(config.command[1:]), env=dict(config.env), cwd=config.cwd
                )
                transport = stdio_client(parameters, errlog=stderr)  # type: ignore[arg-type]  # any file with a fileno
            else:
                stderr = None
                timeout = httpx2.Timeout(min(30.0, config.start_timeout_s), read=config.timeout_s + 5)
                http = httpx2.AsyncClient(headers=dict(config.headers), timeout=timeout)
                transport = streamable_http_client(config.url, http_client=await stack.enter_async_context(http))
            client = await stack.enter_async_context(Client(transport, elicitation_callback=_decline, cache=None))
            check_results(client.session)
            if stderr is not None:
                stderr.close()  # the server has the only copy now, so its exit ends the stream
            yield client

    async def _list_tools(self, client: "Client") -> "tuple[McpTool, ...]":
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
        raise _StartError(f"its list of tools has more than {MAX_PAGES} pages")

    def _set_state(self, state: ServerState) -> None:
        self.state = state
        self._changed.set()
        self._changed = asyncio.Event()

    async def _next_change(self) -> None:
        await self._changed.wait()


async def _decline(context: "ClientRequestContext", params: "ElicitRequestParams") -> "ElicitResult":
    """Decline a question during a call (old protocol): no user is there to answer it."""
    from mcp_types import ElicitResult

    del context, params
    return ElicitResult(action="decline")


def _description(client: "Client") -> str:
    info = client.server_info
    name = f"{info.name} {info.version}".strip() if info else "a server without a name"
    return f"{name}, protocol {client.protocol_version}"


def _start_failure(exc: BaseException) -> str:
    """Describe briefly why a start failed, by the innermost error of a group."""
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    if isinstance(exc, FileNotFoundError):
        return f"the program {exc.filename!r} was not found"
    if isinstance(exc, PermissionError):
        return f"{exc.filename!r} cannot be run: {exc.strerror}"
    if hasattr(exc, "errors") and (invalid := exc.errors(include_url=False)):  # of pydantic
        where = ".".join(map(str, invalid[0]["loc"]))
        return f"its response does not follow the protocol ({where}: {invalid[0]['msg'].lower()})"
    text = " ".join(str(exc).split())[:300]
    return text if isinstance(exc, _StartError) else f"{type(exc).__name__}: {text}" if text else type(exc).__name__
