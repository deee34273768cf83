"""The MCP servers of one run: started together, offered to the model as tools, stopped together.

    async with McpServers(read_mcp_config(Path(".mcp.json")), blobs=BlobFolder(folder)) as servers:
        tools = servers.registry(workspace_tools(workspace))

A server that cannot be used is reported in `problems`; the run continues with the tools that are
available.
"""

import asyncio
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from loom_runner import Tool, ToolFailed, ToolRegistry, current_run

from loom_agents._mcp.bounded_schemas import BoundedSchema
from loom_agents._mcp.config import McpConfig
from loom_agents._mcp.results import Blobs, error_text, payload_of, shortened
from loom_agents._mcp.server import McpServer
from loom_agents._mcp.tool_names import ServerTool, model_names
from loom_agents._models.messages import storable
from loom_agents._tools.input_requests import INPUT_ARGUMENT, question_payload
from loom_agents._workspace.trusted_files import TrustedFiles

if TYPE_CHECKING:
    from mcp_types import InputRequiredResult
    from mcp_types import Tool as McpTool

__all__ = ["McpServers", "OfferedTool"]

_MAX_DESCRIPTION: Final = 4000
_MAX_ROUNDS: Final = 10  # for a server that returns its request state without a question
_ROUND_PAUSE_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class OfferedTool:
    """Hold one tool of a server.

    Args:
        server: The server.
        offer: The tool as the server describes it.
        validator: Validates arguments against the tool's schema.
    """

    server: McpServer
    offer: "McpTool"
    validator: BoundedSchema

    @property
    def key(self) -> ServerTool:
        """The name of the server and the server's name of the tool."""
        return self.server.config.name, self.offer.name

    @property
    def is_read_only(self) -> bool:
        """Whether it changes nothing, as the file declares. What the server says grants nothing."""
        return self.server.config.effect == "read"

    @property
    def is_idempotent(self) -> bool:
        """Whether a repeated call has no further effect, as the file declares."""
        return self.server.config.effect == "idempotent"

    @property
    def offered(self) -> str:
        """A hash of what the server says about the tool to a model."""
        said = [self.offer.description, self.offer.title, self.offer.input_schema]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    @property
    def digest(self) -> str:
        """A hash of what a model sees of the tool; it changes when the tool does."""
        visible = [self.offered, self.is_read_only, self.is_idempotent]
        return hashlib.sha256(json.dumps(visible, sort_keys=True).encode()).hexdigest()[:12]

    def as_tool(self, name: str, blobs: Blobs) -> Tool:
        """Build the tool that a run calls by this name."""

        async def call(**arguments: Any) -> Any:
            answers = arguments.pop(INPUT_ARGUMENT, None)
            self._check(name, arguments)
            return await self._call(name, arguments, answers, blobs)

        return Tool(
            name=name,
            function=call,
            description=storable(self.offer.description or self.offer.title or "")[:_MAX_DESCRIPTION],
            input_schema=self.offer.input_schema,
            read_only=self.is_read_only,
            idempotent=self.is_idempotent,
            needs_approval=self.server.config.approve is True,
        )

    def _check(self, name: str, arguments: Mapping[str, Any]) -> None:
        from referencing.exceptions import Unresolvable

        try:
            mismatch = self.validator.mismatch(arguments)
        except TimeoutError as exc:
            raise ToolFailed(
                f"cannot call {name}: its arguments cannot be checked, because the server's schema is too large.",
                error_category="invalid_arguments",
            ) from exc
        except Unresolvable as exc:
            raise ToolFailed(
                f"cannot call {name}: the server's schema refers to {exc.ref!r}, which is not in it.",
                error_category="invalid_arguments",
            ) from exc
        if mismatch is not None:
            where = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in mismatch.absolute_path)
            raise ToolFailed(
                f"cannot call {name}: invalid arguments{where}: {mismatch.message[:300]}. Correct them.",
                error_category="invalid_arguments",
            )

    async def _call(
        self, name: str, arguments: Mapping[str, Any], answers: Mapping[str, Any] | None, blobs: Blobs
    ) -> Any:
        from mcp_types import CallToolResult

        context = current_run()

        async def report_progress(progress: float, total: float | None, message: str | None) -> None:
            if context is not None:
                report = {"progress": progress, "total": total, "message": message}
                context.emit({"type": "tool_progress", "name": name, **report})

        for _ in range(_MAX_ROUNDS):
            result = await self.server.call(
                self.offer.name,
                arguments,
                is_repeatable=self.is_read_only or self.is_idempotent,
                answers=answers,
                on_progress=report_progress,
            )
            if isinstance(result, CallToolResult):
                if result.is_error:
                    raise ToolFailed(error_text(result), error_category="tool_error")
                return payload_of(result, blobs)
            if result.input_requests:
                return question_payload(_questions(name, result), result.request_state)
            answers = {"responses": {}, "request_state": result.request_state}
            await asyncio.sleep(_ROUND_PAUSE_S)
        raise ToolFailed(f"the MCP server did not finish {name} in {_MAX_ROUNDS} rounds", error_category="refused")


class McpServers:
    """Run the servers of a configuration within an `async with` block.

    Attributes:
        servers: All valid servers, started or not.
        problems: What cannot be used and why, one line each.
    """

    def __init__(self, config: McpConfig, *, blobs: Blobs) -> None:
        self.servers = [McpServer(server) for server in config.servers]
        self.problems = list(config.problems.values())
        self._blobs = blobs
        self._path = config.path
        self._offers: list[OfferedTool] = []

    async def __aenter__(self) -> Self:
        """Start all servers concurrently, each with its own timeout."""
        try:
            await asyncio.gather(*(server.start() for server in self.servers))
        except BaseException:
            await self._stop()
            raise
        for server in self.servers:
            if server.state == "failed":
                lines = server.stderr.text.splitlines()
                stderr = f" Its last line on stderr: {storable(lines[-1])}" if lines else ""
                self.problems.append(f"cannot use MCP server {server.config.name!r}: {server.reason}.{stderr}")
            self._offers += self._usable(server)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Stop all servers concurrently; none of their processes is left when this returns."""
        await self._stop()

    def registry(self, local: ToolRegistry) -> ToolRegistry:
        """Return the tools of the servers and the local tools that they do not replace."""
        names = self.names(local)
        merged = ToolRegistry()
        for tool in local:
            if tool.name not in names.values():
                merged.add(tool)
        for offer in self._offers:
            merged.add(offer.as_tool(names[offer.key], self._blobs))
        return merged

    def names(self, local: ToolRegistry) -> dict[ServerTool, str]:
        """Return the name of each tool for the model."""
        replaced: dict[ServerTool, str] = {}
        for offer in self._offers:
            for name, remote in offer.server.config.replaces.items():
                if remote == offer.offer.name and name in local and name not in replaced.values():
                    replaced[offer.key] = name
        others = [offer.key for offer in self._offers if offer.key not in replaced]
        return model_names(others, taken=[tool.name for tool in local]) | replaced

    def table(self, local: ToolRegistry) -> dict[str, str]:
        """Return a hash of each remote tool, by its name, for the state of the run."""
        names = self.names(local)
        return {names[offer.key]: offer.digest for offer in self._offers}

    def changed(self, local: ToolRegistry, accepted: TrustedFiles) -> frozenset[str]:
        """Return the remote tools that are not as the user accepted them; accept those of new
        servers.

        A server could change what a tool does, with its description or schema, or add one, after
        the user has looked at its tools. A server is accepted when it is used for the first time.

        Args:
            local: The local tools.
            accepted: The user's file of what is trusted.
        """
        names = self.names(local)
        changed: set[str] = set()
        new: dict[Path, str] = {}
        for offer in self._offers:
            place = self._pin(offer.server.config.name, offer.offer.name)
            if not accepted.knows(self._pin(offer.server.config.name)):
                new |= {place: offer.offered, self._pin(offer.server.config.name): ""}
            elif not accepted.trusts(place, offer.offered):
                changed.add(names[offer.key])
        accepted.trust_all(new)
        return frozenset(changed)

    def _pin(self, *names: str) -> Path:
        return pinned_tools(self._path or Path()) / hashlib.sha256("\0".join(names).encode()).hexdigest()[:16]

    async def _stop(self) -> None:
        await asyncio.gather(*(server.stop() for server in self.servers))

    def _usable(self, server: McpServer) -> list[OfferedTool]:
        """Return the valid tools; for an invalid one, a provider would reject the whole request."""
        from jsonschema.exceptions import SchemaError

        usable: dict[str, OfferedTool] = {}
        for offer in server.tools:
            if not server.config.uses(offer.name):
                continue
            where = f"cannot use tool {storable(offer.name)!r} of MCP server {server.config.name!r}:"
            try:
                schema = BoundedSchema(offer.input_schema)
            except SchemaError as exc:
                self.problems.append(f"{where} its schema is not valid ({exc.message[:200]}).")
                continue
            except RecursionError:
                self.problems.append(f"{where} its schema is nested too deeply.")
                continue
            if offer.input_schema.get("type") != "object":
                self.problems.append(f"{where} the type of its schema is not object.")
            elif offer.name in usable:
                self.problems.append(f"{where} the server has two tools of this name.")
            else:
                usable[offer.name] = OfferedTool(server, offer, schema)
        return list(usable.values())


def pinned_tools(config: Path) -> Path:
    """Return the name under which the tools of the servers in a file are accepted."""
    return config.absolute().parent / f"{config.name}#tools"


def _questions(name: str, result: "InputRequiredResult") -> dict[str, dict[str, Any]]:
    from mcp_types import ElicitRequest, ElicitRequestURLParams

    questions: dict[str, dict[str, Any]] = {}
    for key, request in (result.input_requests or {}).items():
        if not isinstance(request, ElicitRequest):
            raise ToolFailed(
                f"cannot finish {name}: the MCP server requests {request.method}, which is not supported.",
                error_category="refused",
            )
        message = shortened(request.params.message)
        if isinstance(request.params, ElicitRequestURLParams):
            questions[key] = {"message": message, "url": request.params.url}
        else:
            questions[key] = {"message": message, "schema": request.params.requested_schema}
    return questions
