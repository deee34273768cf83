"""The MCP server: one tool for each function of the library, with typed results.

    async with Client(build_server(load_settings(root="."))) as client:
        result = await client.call_tool("run_tests", {"extra_args": ["-k", "parser"]})
        result.structured_content["verdict"]

Results have structured content and a text for people. A gate that did not run is a result with the
verdict `cannot_tell`; a call that is refused is a `ToolError` with the next step.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

from loom_agents.mcp_server import new_server, require_scope

from rule_based_verifier.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcp.server.mcpserver import MCPServer
    from mcp.types import CallToolResult

__all__ = ["build_server"]

INSTRUCTIONS: Final = (
    "Deterministic checks of one repository. run_tests and run_lint give a verdict: pass, fail or cannot_tell, with"
    " evidence. cannot_tell is not a pass: follow next_step. Paths are relative to the root. verifier_health says what"
    " is detected and what may run."
)

_Result = TypeVar("_Result")


def build_server(settings: Settings) -> "MCPServer[Any]":
    """Build the server. It holds no state but a lock: one command runs at a time.

    Args:
        settings: Root, commands and limits.

    Raises:
        AgentError: The library `mcp` is not installed.
    """
    server = new_server("rule-based-verifier", version=version("rule-based-verifier"), instructions=INSTRUCTIONS)
    _add_reading(server, settings)
    _add_gates(server, settings)
    return server


def _add_reading(server: "MCPServer[Any]", settings: Settings) -> None:
    from mcp.server.mcpserver import Context
    from mcp.types import CallToolResult, ToolAnnotations

    from rule_based_verifier import health, reading

    hints = ToolAnnotations(read_only_hint=True, idempotent_hint=True, destructive_hint=False, open_world_hint=False)

    @server.tool(annotations=hints)
    async def verifier_health(context: Context[Any, Any]) -> Annotated[CallToolResult, health.Health]:
        """Say which runners the root has, whether they may run, and which limits hold. Runs
        nothing.
        """
        require_scope(context, "read")
        found = await _called(lambda: asyncio.to_thread(health.verifier_health, settings))
        return _answer(found, found.as_text())

    @server.tool(annotations=hints)
    async def read_repo_file(
        relative_path: str, context: Context[Any, Any], first_line: int = 1
    ) -> Annotated[CallToolResult, reading.FileText]:
        """Read lines of a text file of the root. Secrets are masked.

        Args:
            relative_path: The file, relative to the root.
            first_line: Where to begin; `next_line` of the last answer reads on.
        """
        require_scope(context, "read")
        page = await _called(lambda: asyncio.to_thread(reading.read_repo_file, settings, relative_path, first_line))
        return _answer(page, page.as_text())

    @server.tool(annotations=hints)
    async def search_codebase(
        pattern: str, context: Context[Any, Any], glob_pattern: str = "**", max_results: int = 50
    ) -> Annotated[CallToolResult, reading.SearchResult]:
        """Search the lines of the root's text files, without ignored files and secrets.

        Args:
            pattern: A Python regular expression; `(?i)` at its start ignores case.
            glob_pattern: In which paths, such as `src/**/*.py`.
            max_results: At most 200.
        """
        require_scope(context, "read")
        found = await _called(lambda: reading.search_codebase(settings, pattern, glob_pattern, max_results))
        return _answer(found, found.as_text())


def _add_gates(server: "MCPServer[Any]", settings: Settings) -> None:
    from loom_agents.process import can_leave_network
    from mcp.server.mcpserver import Context
    from mcp.types import CallToolResult, ToolAnnotations

    from rule_based_verifier.gates import gates, verdicts
    from rule_based_verifier.tracing import traces

    # Code of the root runs, and this server cannot vouch for what it does.
    hints = ToolAnnotations(
        read_only_hint=False,
        idempotent_hint=False,
        destructive_hint=True,
        open_world_hint=settings.network or not can_leave_network(),
    )
    turn = asyncio.Lock()

    def progress(context: Context[Any, Any]) -> Callable[[float, str], Awaitable[None]]:
        return lambda seconds, text: context.report_progress(seconds, settings.timeout_s, text)

    @server.tool(annotations=hints)
    async def run_tests(
        context: Context[Any, Any], extra_args: list[str] | None = None, runner: str | None = None
    ) -> Annotated[CallToolResult, verdicts.GateResult]:
        """Run the tests of the root. The verdict is pass, fail or cannot_tell, with evidence.

        Args:
            extra_args: Further arguments, a list: paths or ids of tests, and the options that
                verifier_health lists (for pytest `-k`, `-m`, `-x`, ...).
            runner: One runner by its name, when the root has several.
        """
        require_scope(context, "run")
        async with turn:
            result = await _called(
                lambda: gates.run_tests(settings, extra_args or [], runner=runner, progress=progress(context))
            )
        return _answer(result, result.text())

    @server.tool(annotations=hints)
    async def run_lint(
        context: Context[Any, Any], extra_args: list[str] | None = None, runner: str | None = None
    ) -> Annotated[CallToolResult, verdicts.GateResult]:
        """Run the linters of the root, without fixing anything. The verdict is pass, fail or
        cannot_tell, with the findings.

        Args:
            extra_args: Further arguments, a list: paths, and the options that verifier_health
                lists.
            runner: One runner by its name, when the root has several.
        """
        require_scope(context, "run")
        async with turn:
            result = await _called(
                lambda: gates.run_lint(settings, extra_args or [], runner=runner, progress=progress(context))
            )
        return _answer(result, result.text())

    @server.tool(annotations=hints)
    async def semantic_trace(
        target: str,
        context: Context[Any, Any],
        arguments: dict[str, Any] | list[Any] | None = None,
        html_path: str | None = None,
        max_calls: int = 200,
    ) -> Annotated[CallToolResult, traces.SemanticTrace]:
        """Run one function or one test of the root, and return the calls of its code with their
        values, as a trace in the format flow-xray/1.

        Args:
            target: `package.module:function`, `path/file.py:function`, or
                `path/test_file.py::test`.
            arguments: The arguments of the function: an object by name, or a list by position.
            html_path: A new `.html` file for the page, in the root or in a temporary folder.
            max_calls: How many calls are recorded, at most 2000.
        """
        require_scope(context, "run")
        async with turn:
            result = await _called(
                lambda: traces.semantic_trace(settings, target, arguments, html_path=html_path, max_calls=max_calls)
            )
        return _answer(result, result.as_text())


async def _called(call: Callable[[], Awaitable[_Result]]) -> _Result:
    """Call the library; what it refuses becomes an error that the client reads."""
    with _refusals():
        return await call()


@contextmanager
def _refusals() -> "Iterator[None]":
    from loom_agents import AgentError
    from loom_agents.redaction import shown_text
    from mcp.server.mcpserver.exceptions import ToolError as Refusal

    try:
        yield
    except AgentError as exc:
        raise Refusal(shown_text(str(exc))) from exc


def _answer(value: Any, text: str) -> "CallToolResult":
    from mcp.types import CallToolResult, TextContent

    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=asdict(value))
