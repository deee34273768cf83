"""Read `.mcp.json`: the MCP servers and how to connect to each of them.

The file has the format that editors and other agents use: an object `mcpServers` with one member
for each server. A stdio server has `command`, `args`, `env` and `cwd`; an HTTP server has `url` and
`headers`. `${NAME}` and `${NAME:-default}` are replaced in all of them. Settings that only this
agent knows are in the member `loom`:

    {"mcpServers": {"docs": {"command": "docs-memory-mcp", "args": ["--root", "."], "env": {"EMBED_API_KEY": "${KEY}"},
                             "loom": {"effect": "idempotent", "tools": {"deny": ["memory_forget"]},
                                      "replaces": {"search_docs": "docs_search"}}}}}

A file that is not JSON is an error. An invalid server is not: it is reported as a problem under its
name, and the other servers are used.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from loom_runner.errors import NotOwnFile
from loom_runner.own_files import read_own_file

from loom_agents._errors import McpConfigError

__all__ = ["Effect", "McpConfig", "McpServerConfig", "read_mcp_config"]

Effect: TypeAlias = Literal["read", "idempotent", "write"]
"""What calls of a server may do, as declared in the file. What a server says about itself grants
nothing.
"""

_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_MEMBERS: Final = frozenset({"command", "args", "env", "cwd", "url", "headers", "type", "disabled", "timeout", "loom"})
_LOOM_MEMBERS: Final = frozenset({"effect", "approve", "tools", "replaces", "start_timeout_s"})
_KINDS: Final = {"stdio": "stdio", "http": "http", "streamable-http": "http", "streamable_http": "http"}


@dataclass(frozen=True, slots=True)
class McpServerConfig:
    """Describe how to connect to one server, and its settings.

    Args:
        name: Its name in the file.
        command: The program of a stdio server and its arguments; empty for an HTTP server.
        env: Environment variables for the program, in addition to the few that every program needs.
        cwd: The working directory of the program; None for the folder of the file.
        url: The URL of an HTTP server; empty for a stdio server.
        headers: HTTP headers that are sent with each request.
        timeout_s: Seconds until a call times out.
        start_timeout_s: Seconds until a start times out.
        effect: What its calls may do; None is the same as `write`.
        approve: Whether each call needs an approval; None leaves that to the mode of the run.
        allow: The only tools that are used, by the server's names for them; None is all.
        deny: Tools that are not used.
        replaces: Local tools that tools of the server replace, each with the server's name of its
            tool.
        shown: The command or the URL as written in the file, with the names of variables and not
            their values.
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
    replaces: Mapping[str, str] = field(default_factory=dict)
    shown: str = field(default="", compare=False)

    @property
    def transport(self) -> Literal["stdio", "http"]:
        """The transport of the protocol."""
        return "stdio" if self.command else "http"

    def uses(self, tool: str) -> bool:
        """Report whether the file allows this tool."""
        return tool not in self.deny and (self.allow is None or tool in self.allow)


@dataclass(frozen=True, slots=True)
class McpConfig:
    """Hold the content of a file.

    Args:
        servers: The valid servers.
        problems: Why each other server is invalid, by its name.
        warnings: Unknown members, one line each.
        path: The file; None when there is none.
        digest: SHA-256 of its bytes, which the check for trust compares.
    """

    servers: tuple[McpServerConfig, ...] = ()
    problems: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    path: Path | None = None
    digest: str = ""


class _InvalidServerError(Exception):
    """Report what is wrong with one server."""


def read_mcp_config(path: Path, *, environment: Mapping[str, str] | None = None) -> McpConfig:
    """Read a file of servers.

    Args:
        path: The file.
        environment: The variables for `${NAME}`; by default the environment of the process.

    Raises:
        McpConfigError: The file is missing, unreadable, not JSON, or has no `mcpServers`.
    """
    variables = os.environ if environment is None else environment
    try:
        data = read_own_file(path)
    except NotOwnFile as exc:
        raise McpConfigError(f"cannot read {path}: {exc}") from exc
    except OSError as exc:
        raise McpConfigError(f"cannot read {path}: {_reason(exc)}. Name another file.") from exc
    servers = _members(path, data)
    valid: list[McpServerConfig] = []
    problems: dict[str, str] = {}
    warnings: list[str] = []
    for name, value in servers.items():
        try:
            if not isinstance(value, dict):
                raise _InvalidServerError("it is not an object")
            if value.get("disabled") is True:
                continue
            warnings += [f"{name}: unknown member {member!r} was ignored" for member in _unknown(value)]
            valid.append(_server(name, value, path.absolute().parent, variables))
        except _InvalidServerError as exc:
            problems[name] = f"cannot use MCP server {name!r} of {path}: {exc}."
    return McpConfig(tuple(valid), problems, tuple(warnings), path, hashlib.sha256(data).hexdigest())


def _members(path: Path, data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except json.JSONDecodeError as exc:
        raise McpConfigError(
            f"cannot read {path}: line {exc.lineno} is not JSON ({exc.msg.lower()}, column {exc.colno}). Correct it."
        ) from exc
    except (UnicodeDecodeError, RecursionError) as exc:
        raise McpConfigError(f"cannot read {path}: it is not JSON in UTF-8. Correct it.") from exc
    servers = document.get("mcpServers") if isinstance(document, dict) else None
    if not isinstance(servers, dict):
        raise McpConfigError(f'cannot read {path}: it has no object "mcpServers". Add one with the servers.')
    return servers


def _server(name: str, value: dict[str, Any], folder: Path, variables: Mapping[str, str]) -> McpServerConfig:
    if not name or not name.isprintable() or len(name) > 100:
        raise _InvalidServerError("its name is not 1 to 100 printable characters")
    kind = value.get("type")
    if kind is not None and _KINDS.get(str(kind).lower()) is None:
        raise _InvalidServerError(f"its type is {kind!r}; it must be stdio or http")
    is_http = "url" in value
    if is_http == ("command" in value):
        raise _InvalidServerError("it needs either `command` (a program) or `url` (an HTTP server)")
    if kind is not None and (_KINDS[str(kind).lower()] == "http") != is_http:
        raise _InvalidServerError(f"its type is {kind!r}, which cannot have `{'url' if is_http else 'command'}`")
    loom = value.get("loom", {})
    if not isinstance(loom, dict):
        raise _InvalidServerError("its `loom` is not an object")
    common = _common_settings(value, loom)
    if is_http:
        url = _text(value["url"], "url", variables)
        if not re.match(r"https?://[^/\s]", url):
            raise _InvalidServerError(f"its url {url!r} does not begin with http:// or https://")
        headers = _texts(value.get("headers"), "headers", variables)
        return McpServerConfig(name, url=url, headers=headers, shown=value["url"], **common)
    command = (_text(value["command"], "command", variables), *_list(value.get("args"), "args", variables))
    if not command[0]:
        raise _InvalidServerError("its command is empty")
    cwd = str(folder / _text(value["cwd"], "cwd", variables)) if value.get("cwd") is not None else None
    env, shown = _texts(value.get("env"), "env", variables), " ".join((value["command"], *value.get("args", ())))
    return McpServerConfig(name, command, env, cwd or str(folder), shown=shown, **common)


def _common_settings(value: dict[str, Any], loom: dict[str, Any]) -> dict[str, Any]:
    """Read the settings that both kinds of servers have."""
    effect, approve, tools = loom.get("effect"), loom.get("approve"), loom.get("tools", {})
    if effect not in (None, "read", "idempotent", "write"):
        raise _InvalidServerError(f"loom.effect is {effect!r}; it must be read, idempotent or write")
    if approve not in (None, True, False):
        raise _InvalidServerError("loom.approve is neither true nor false")
    if not isinstance(tools, dict) or tools.keys() - {"allow", "deny"}:
        raise _InvalidServerError("loom.tools is not an object with `allow` and `deny`")
    allow = tools.get("allow")
    return {
        "timeout_s": _seconds(value.get("timeout", 60), "timeout"),
        "start_timeout_s": _seconds(loom.get("start_timeout_s", 30), "loom.start_timeout_s"),
        "effect": effect,
        "approve": approve,
        "allow": None if allow is None else frozenset(_names(allow, "loom.tools.allow")),
        "deny": frozenset(_names(tools.get("deny", []), "loom.tools.deny")),
        "replaces": _replaced(loom.get("replaces", ())),
    }


def _unknown(value: dict[str, Any]) -> list[str]:
    loom = value.get("loom")
    inner = sorted(loom.keys() - _LOOM_MEMBERS) if isinstance(loom, dict) else []
    return sorted(value.keys() - _MEMBERS) + [f"loom.{member}" for member in inner]


def _text(value: Any, where: str, variables: Mapping[str, str]) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise _InvalidServerError(f"{where} is not text")

    def replacement(match: re.Match[str]) -> str:
        name, default = match[1], match[2]
        if variables.get(name):
            return variables[name]
        if default is not None:
            return default
        raise _InvalidServerError(
            f"{where} needs the variable {name}, which is not set. Set it, or write ${{{name}:-value}}"
        )

    return _VARIABLE.sub(replacement, value)


def _texts(value: Any, where: str, variables: Mapping[str, str]) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _InvalidServerError(f"{where} is not an object")
    return {name: _text(text, f"{where}.{name}", variables) for name, text in value.items()}


def _list(value: Any, where: str, variables: Mapping[str, str]) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise _InvalidServerError(f"{where} is not a list")
    return tuple(_text(text, f"{where}[{index}]", variables) for index, text in enumerate(value))


def _names(value: Sequence[Any], where: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise _InvalidServerError(f"{where} is not a list of names")
    return tuple(value)


def _replaced(value: Any) -> dict[str, str]:
    """Return the server's tools by the names of the local tools that they replace."""
    if isinstance(value, dict):
        if not all(isinstance(name, str) for name in value.values()) or len(set(value.values())) < len(value):
            raise _InvalidServerError("loom.replaces does not give each local tool another tool of the server")
        return dict(value)
    return {name: name for name in _names(value, "loom.replaces")}


def _seconds(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 86_400:
        raise _InvalidServerError(f"{where} is not a number of seconds above 0 and of at most 86400 (one day)")
    return float(value)


def _reason(exc: OSError) -> str:
    return (exc.strerror or str(exc)).lower()
