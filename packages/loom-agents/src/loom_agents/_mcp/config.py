"""Read `.mcp.json`: which MCP servers there are and how each is reached.

The file has the form that editors and other agents share: an object `mcpServers`, a member for each server. A stdio
server has `command`, `args`, `env`, `cwd`; an HTTP one `url`, `headers`. `${NAME}` and `${NAME:-otherwise}` are
replaced in all of them. What only this agent understands stands under the member `loom`:

    {"mcpServers": {"docs": {"command": "docs-memory-mcp", "args": ["serve", "."], "env": {"TOKEN": "${DOCS_TOKEN}"},
                             "loom": {"effect": "read", "tools": {"deny": ["forget"]}, "replaces": ["search_docs"]}}}}

A file that is no JSON is an error. A server that is wrong is not: it becomes a problem with its name, and the others
are used.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from loom_agents._errors import McpConfigError

__all__ = ["Effect", "McpConfig", "McpServerConfig", "read_mcp_config"]

Effect: TypeAlias = Literal["read", "idempotent", "write"]
"""What calls of a server may do, in the words of the owner of the file; it stands above the server's own hints."""

_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_MEMBERS: Final = frozenset({"command", "args", "env", "cwd", "url", "headers", "type", "disabled", "timeout", "loom"})
_LOOM_MEMBERS: Final = frozenset({"effect", "approve", "tools", "replaces", "start_timeout_s"})
_KINDS: Final = {"stdio": "stdio", "http": "http", "streamable-http": "http", "streamable_http": "http"}

# The servers of this house, and the local tools whose work they do better.
_ROLES: Final[Mapping[str, tuple[str, ...]]] = {
    "docs-memory": ("search_docs",),
    "rule-based-verifier": ("run_tests", "read_file"),
}


@dataclass(frozen=True, slots=True)
class McpServerConfig:
    """Say how one server is reached and what is known about it.

    Args:
        name: Its name in the file.
        command: The program of a stdio server and its arguments; empty for an HTTP one.
        env: Variables for the program, beside the few that every program needs.
        cwd: The folder it runs in; None for the one of the file.
        url: Where an HTTP server is; empty for a stdio one.
        headers: What is sent to it with each request.
        timeout_s: After this many seconds a call is given up.
        start_timeout_s: After this many seconds a start is given up.
        effect: What its calls may do; None believes the server's hints.
        approve: Whether a person decides about each call; None leaves that to the mode of the run.
        allow: The only tools that are used, by the server's own names; None is all.
        deny: Tools that are not used.
        replaces: Local tools that give way to the server's tool of the same name.
        shown: The command or the address as it is written, with the names of variables and not their values.
    """

    name: str
    command: tuple[str, ...] = field(default=(), repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: str | None = None
    url: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout_s: float = 60.0
    start_timeout_s: float = 30.0
    effect: Effect | None = None
    approve: bool | None = None
    allow: frozenset[str] | None = None
    deny: frozenset[str] = frozenset()
    replaces: tuple[str, ...] = ()
    shown: str = field(default="", compare=False)

    @property
    def transport(self) -> Literal["stdio", "http"]:
        """How it is spoken to."""
        return "stdio" if self.command else "http"

    def uses(self, tool: str) -> bool:
        """Say whether the owner of the file wants this tool."""
        return tool not in self.deny and (self.allow is None or tool in self.allow)


@dataclass(frozen=True, slots=True)
class McpConfig:
    """Hold what a file says.

    Args:
        servers: Those that can be started.
        problems: Why another one cannot, by its name.
        warnings: Members that nobody knows, each in one line.
        path: The file; None when there is none.
        digest: SHA-256 of its bytes, for the question of trust.
    """

    servers: tuple[McpServerConfig, ...] = ()
    problems: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    path: Path | None = None
    digest: str = ""


class _Wrong(Exception):  # noqa: N818 - it never leaves this module
    """Say what is wrong with one server."""


def read_mcp_config(path: Path, *, environment: Mapping[str, str] | None = None) -> McpConfig:
    """Read a file of servers.

    Args:
        path: The file.
        environment: Where `${NAME}` is looked up; the process's own when it is not given.

    Raises:
        McpConfigError: The file is missing, unreadable, not JSON, or has no `mcpServers`.
    """
    variables = os.environ if environment is None else environment
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise McpConfigError(f"cannot read {path}: {_reason(exc)}. Name another file.") from exc
    servers = _members(path, data)
    good: list[McpServerConfig] = []
    problems: dict[str, str] = {}
    warnings: list[str] = []
    for name, value in servers.items():
        try:
            if not isinstance(value, dict):
                raise _Wrong("it is not an object")
            if value.get("disabled") is True:
                continue
            warnings += [f"{name}: {member!r} is not known and was ignored" for member in _unknown(value)]
            good.append(_server(name, value, path.absolute().parent, variables))
        except _Wrong as exc:
            problems[name] = f"cannot use MCP server {name!r} of {path}: {exc}."
    return McpConfig(tuple(good), problems, tuple(warnings), path, hashlib.sha256(data).hexdigest())


def _members(path: Path, data: bytes) -> dict[str, Any]:
    try:
        whole = json.loads(data)
    except json.JSONDecodeError as exc:
        raise McpConfigError(
            f"cannot read {path}: line {exc.lineno} is not JSON ({exc.msg.lower()}, column {exc.colno}). Correct it."
        ) from exc
    except (UnicodeDecodeError, RecursionError) as exc:
        raise McpConfigError(f"cannot read {path}: it is not JSON in UTF-8. Correct it.") from exc
    servers = whole.get("mcpServers") if isinstance(whole, dict) else None
    if not isinstance(servers, dict):
        raise McpConfigError(f'cannot read {path}: it has no object "mcpServers". Put the servers into one.')
    return servers


def _server(name: str, value: dict[str, Any], folder: Path, variables: Mapping[str, str]) -> McpServerConfig:
    if not name or not name.isprintable() or len(name) > 100:
        raise _Wrong("its name is not 1 to 100 printable characters")
    kind = value.get("type")
    if kind is not None and _KINDS.get(str(kind).lower()) is None:
        raise _Wrong(f"its type is {kind!r}; known are stdio and http")
    is_http = "url" in value
    if is_http == ("command" in value):
        raise _Wrong("it needs either `command` (a program) or `url` (an HTTP server)")
    if kind is not None and (_KINDS[str(kind).lower()] == "http") != is_http:
        raise _Wrong(f"its type is {kind!r}, which does not go with `{'url' if is_http else 'command'}`")
    own = value.get("loom", {})
    if not isinstance(own, dict):
        raise _Wrong("its `loom` is not an object")
    shared = _shared(name, value, own)
    if is_http:
        url = _text(value["url"], "url", variables)
        if not re.match(r"https?://[^/\s]", url):
            raise _Wrong(f"its url {url!r} does not begin with http:// or https://")
        headers = _texts(value.get("headers"), "headers", variables)
        return McpServerConfig(name, url=url, headers=headers, shown=value["url"], **shared)
    command = (_text(value["command"], "command", variables), *_list(value.get("args"), "args", variables))
    if not command[0]:
        raise _Wrong("its command is empty")
    cwd = str(folder / _text(value["cwd"], "cwd", variables)) if value.get("cwd") is not None else None
    env, shown = _texts(value.get("env"), "env", variables), " ".join((value["command"], *value.get("args", ())))
    return McpServerConfig(name, command, env, cwd or str(folder), shown=shown, **shared)


def _shared(name: str, value: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Read what both kinds of servers have."""
    effect, approve, tools = own.get("effect"), own.get("approve"), own.get("tools", {})
    if effect not in (None, "read", "idempotent", "write"):
        raise _Wrong(f"loom.effect is {effect!r}; known are read, idempotent and write")
    if approve not in (None, True, False):
        raise _Wrong("loom.approve is neither true nor false")
    if not isinstance(tools, dict) or tools.keys() - {"allow", "deny"}:
        raise _Wrong("loom.tools is not an object with `allow` and `deny`")
    allow = tools.get("allow")
    return {
        "timeout_s": _seconds(value.get("timeout", 60), "timeout"),
        "start_timeout_s": _seconds(own.get("start_timeout_s", 30), "loom.start_timeout_s"),
        "effect": effect,
        "approve": approve,
        "allow": None if allow is None else frozenset(_names(allow, "loom.tools.allow")),
        "deny": frozenset(_names(tools.get("deny", []), "loom.tools.deny")),
        "replaces": _names(own.get("replaces", _ROLES.get(name.removesuffix("-mcp"), ())), "loom.replaces"),
    }


def _unknown(value: dict[str, Any]) -> list[str]:
    own = value.get("loom")
    inner = sorted(own.keys() - _LOOM_MEMBERS) if isinstance(own, dict) else []
    return sorted(value.keys() - _MEMBERS) + [f"loom.{member}" for member in inner]


def _text(value: Any, where: str, variables: Mapping[str, str]) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise _Wrong(f"{where} is not text")

    def found(match: re.Match[str]) -> str:
        name, otherwise = match[1], match[2]
        if variables.get(name):
            return variables[name]
        if otherwise is not None:
            return otherwise
        raise _Wrong(f"{where} needs the variable {name}, which is not set. Set it, or write ${{{name}:-value}}")

    return _VARIABLE.sub(found, value)


def _texts(value: Any, where: str, variables: Mapping[str, str]) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _Wrong(f"{where} is not an object")
    return {name: _text(text, f"{where}.{name}", variables) for name, text in value.items()}


def _list(value: Any, where: str, variables: Mapping[str, str]) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise _Wrong(f"{where} is not a list")
    return tuple(_text(text, f"{where}[{index}]", variables) for index, text in enumerate(value))


def _names(value: Sequence[Any], where: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise _Wrong(f"{where} is not a list of names")
    return tuple(value)


def _seconds(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 86_400:
        raise _Wrong(f"{where} is not a number of seconds above 0 (one day at most)")
    return float(value)


def _reason(exc: OSError) -> str:
    return (exc.strerror or str(exc)).lower()
