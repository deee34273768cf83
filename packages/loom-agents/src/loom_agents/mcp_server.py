"""What the MCP servers of the stack are made of: create one, and serve it over stdio or HTTP.

    import click
    from loom_agents.mcp_server import new_server, serve_mcp, serve_mcp_options

    @click.command()
    @serve_mcp_options(port=8766)
    def main(**options):
        server = new_server("demo", version="1", instructions="Adds numbers.")

        @server.tool()
        def add(a: int, b: int) -> int: ...

        serve_mcp(server, **options)

Over stdio the caller is the user who started the server. Over streamable HTTP (`/mcp`) every
request needs a token, with the files, scopes and limits of `loom-run serve`; `caller_of` returns
who sent the request that a tool handles.

The library `mcp` (extra `loom-agents[mcp]`) is imported by the functions, not by this module.
"""

import logging
import os
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import click
from loom_runner.cli_base import local_user, run_async, write_error
from loom_runner.errors import CommandError

from loom_agents._errors import AgentError
from loom_agents._serve.tokens import Caller, Scope
from loom_agents.cli import serve_options

if TYPE_CHECKING:
    from mcp.server.mcpserver import Context, MCPServer

    from loom_agents._serve.tokens import Tokens

__all__ = ["Person", "caller_of", "command_errors", "new_server", "require_scope", "serve_mcp", "serve_mcp_options"]

Transport: TypeAlias = Literal["stdio", "http"]

_CALLER: Final = "loom_agents.caller"
_Message: TypeAlias = MutableMapping[str, Any]
_Receive: TypeAlias = Callable[[], Awaitable[_Message]]
_Send: TypeAlias = Callable[[_Message], Awaitable[None]]
_App: TypeAlias = Callable[[_Message, _Receive, _Send], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Person:
    """Who called a tool.

    Args:
        interface: `os` for stdio and calls within a process; `token` for HTTP.
        name: The user's name in the operating system, or the name of the token.
        scopes: What the token allows; over stdio all of `read`, `run`, `approve`, `admin`.
    """

    interface: Literal["os", "token"]
    name: str
    scopes: frozenset[Scope]


def new_server(name: str, *, version: str, instructions: str) -> "MCPServer[Any]":
    """Create an MCP server without tools.

    The logging of the process stays as it is: the library would set it up for the whole process.

    Raises:
        AgentError: The library `mcp` is not installed.
    """
    if find_spec("mcp") is None:
        raise AgentError("cannot serve over MCP: the package `mcp` is not installed. Install loom-agents[mcp].")
    from mcp.server.mcpserver import MCPServer

    root, handler = logging.getLogger(), logging.NullHandler()
    level = root.level
    root.addHandler(handler)
    try:
        return MCPServer(name, version=version, instructions=instructions, log_level="WARNING")
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def caller_of(context: "Context[Any, Any]") -> Person:
    """Return who called the tool: the token's owner over HTTP, otherwise the user of this process.

    Source: the HTTP request of this very call, never an argument of the tool.
    """
    request = getattr(context.request_context, "request", None)
    if request is None:
        return Person("os", local_user(), frozenset(("read", "run", "approve", "admin")))
    caller: Caller = request.scope[_CALLER]
    return Person("token", caller.name, caller.scopes)


def require_scope(context: "Context[Any, Any]", scope: Scope) -> Person:
    """Return who called the tool, if that person has the scope.

    Raises:
        ToolError: The token of the caller does not have it (the `ToolError` of `mcp`, which the
            client gets as a result with `is_error`).
    """
    person = caller_of(context)
    if scope in person.scopes or "admin" in person.scopes:
        return person
    from mcp.server.mcpserver.exceptions import ToolError

    raise ToolError(f"cannot do this: the token of {person.name!r} does not have the scope {scope!r}.")


def serve_mcp_options(*, port: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that adds --transport, --host, --port, --token-file and --allow-host to a
    click command; its function passes them to `serve_mcp`.

    Args:
        port: The default port.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        option = click.option(
            "--transport",
            type=click.Choice(["stdio", "http"]),
            default="stdio",
            show_default=True,
            help="How clients connect: they start this command (stdio), or use http://HOST:PORT/mcp with a token.",
        )
        return option(serve_options(port=port)(command))

    return decorate


def serve_mcp(
    server: "MCPServer[Any]",
    *,
    transport: Transport = "stdio",
    host: str = "127.0.0.1",
    port: int = 0,
    token_file: Path | None = None,
    allow_host: Sequence[str] = (),
) -> None:
    """Serve until the client closes stdin, or until SIGTERM or Ctrl-C.

    Messages for people are written to stderr; over stdio, stdout belongs to the protocol.

    Args:
        server: The server.
        transport: `stdio`, or `http` for streamable HTTP at `/mcp`.
        host: HTTP: the interface to listen on.
        port: HTTP: the port; 0 is any free one.
        token_file: HTTP: the tokens; without it, one token with every scope is generated and
            written to stderr.
        allow_host: HTTP: further host names of this server.

    Raises:
        CommandError: The address cannot be used, others can reach it and there is no token file, or
            stdin is closed.
        Interrupted: It was interrupted.
    """
    logging.basicConfig(level="WARNING", format=f"{server.name}: %(message)s", stream=sys.stderr)
    if transport == "stdio":
        with _ending_stdin() as end_input:
            run_async(_serve_stdio(server, end_input), on_sigterm=end_input)
        return
    from loom_agents._serve.connections import Limits
    from loom_agents._serve.listen import serve_app

    def ready(address: str, token: str | None) -> None:
        write_error(f"{server.name} is at {address}mcp")
        if token is not None:
            write_error(f"header: Authorization: Bearer {token}")

    def make_app(tokens: "Tokens") -> _App:
        from mcp.server.transport_security import TransportSecuritySettings

        # Host names are checked by the guard of `serve_app`, for every path.
        checked = TransportSecuritySettings(enable_dns_rebinding_protection=False)
        return _Authenticated(server.streamable_http_app(transport_security=checked), tokens)

    serving = serve_app(
        make_app,
        host=host,
        port=port,
        token_file=token_file,
        allowed_hosts=allow_host,
        limits=Limits(),
        on_ready=ready,
    )
    with command_errors():
        run_async(serving)


@contextmanager
def command_errors() -> Iterator[None]:
    """Turn errors of `loom_agents`, and of packages that derive from them, into one line.

    Raises:
        CommandError: The block raised an `AgentError`.
    """
    try:
        yield
    except AgentError as exc:
        raise CommandError(str(exc)) from exc


async def _serve_stdio(server: "MCPServer[Any]", end_input: Callable[[], None]) -> None:
    """Serve until the end of the input; when this is cancelled, calls in progress are, too."""
    import asyncio

    serving = asyncio.create_task(server.run_stdio_async())
    try:
        await asyncio.wait({serving})
    except asyncio.CancelledError:
        serving.cancel()
        end_input()  # the library waits for the thread that reads
        await asyncio.wait({serving})
        raise
    await serving


@contextmanager
def _ending_stdin() -> Iterator[Callable[[], None]]:
    """Let `sys.stdin` be a copy of the input that this process can end, and yield what ends it.

    Python cannot interrupt a thread that reads. Commands which tools start inherit an empty stdin.
    """
    try:
        source = os.dup(0)
    except OSError as exc:
        raise CommandError("cannot serve over stdio: stdin is closed. Start it from an MCP client.") from exc
    (reader, writer), before = socket.socketpair(), sys.stdin

    def end() -> None:
        with suppress(OSError):
            writer.shutdown(socket.SHUT_WR)

    def copy() -> None:
        with suppress(OSError):
            while data := os.read(source, 65536):
                writer.sendall(data)
        end()

    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    with writer, reader, reader.makefile(encoding="utf-8") as copied:
        sys.stdin = copied
        threading.Thread(target=copy, daemon=True).start()
        try:
            yield end
        finally:
            end()
            os.dup2(source, 0)
            sys.stdin = before


class _Authenticated:
    """Forward requests with a valid token, and note whose it is."""

    def __init__(self, app: _App, tokens: "Tokens") -> None:
        self._app = app
        self._tokens = tokens

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
        from mcp.server.auth.provider import AccessToken
        from starlette.datastructures import Headers
        from starlette.responses import JSONResponse

        kind, _, token = Headers(scope=scope).get("authorization", "").partition(" ")
        caller = self._tokens.caller(token.strip()) if kind.lower() == "bearer" else None
        if caller is None:
            text = "cannot authenticate the request. Send the header `Authorization: Bearer TOKEN`."
            body = {"error": {"type": "Unauthenticated", "message": text}}
            await JSONResponse(body, 401, {"www-authenticate": "Bearer"})(scope, receive, send)
            return
        scope[_CALLER] = caller
        # A session belongs to whoever opened it: the library compares this user.
        scope["user"] = AuthenticatedUser(
            AccessToken(token="", client_id=caller.name, scopes=sorted(caller.scopes), subject=caller.name)
        )
        await self._app(scope, receive, send)
