"""Settings in four layers. A later one overrides an earlier one:

    user      ~/.config/loom/config.toml  (or where the system keeps such files)
    project   loom.toml in the workspace
    process   LOOM_MODEL, LOOM_MODE, LOOM_DB, ...
    command   --model, --mode, --db, ...

All layers use the same names, those of the flags with `_` for `-`; `[agents.NAME]` describes an
agent for `supervise`. An unknown name is an error with its line, because a misspelled setting would
have no effect. Nothing here changes the environment or a file.

A `loom.toml` comes with the repository. Its settings that could start a program or approve one
(`GUARDED`) take effect only after the user has trusted the file; see `Settings.guarded`.
"""

import difflib
import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from loom_runner.errors import NotOwnFile
from loom_runner.own_files import decode_toml, read_own_file

from loom_run._errors import LoomRunError

if TYPE_CHECKING:
    from loom_agents import Mode

__all__ = ["GUARDED", "PROJECT_FILE", "Settings", "load_settings", "user_folder"]

PROJECT_FILE: Final = "loom.toml"
USER_FILE: Final = "config.toml"
GUARDED: Final = ("allow", "mcp_config", "mode", "test_command")
"""The settings that need a trusted project, because they start programs or skip approval."""

MODES: Final[tuple["Mode", ...]] = ("ask", "edits", "auto", "read-only")
"""The values of `loom_agents.Mode`, repeated so that `--help` need not import it; a test compares
them.
"""


@dataclass(frozen=True, slots=True)
class Settings:
    """Hold the settings of the layers below the options; None and empty values are not set.

    Args:
        agents: for each agent of `supervise` its `prompt`, `tools`, `model`, `max_requests`,
            `max_tokens` and `max_cost_usd`, those that are set.
        origins: where each setting comes from, for a person.
        guarded: the project's file, the SHA-256 of its bytes, and which of `GUARDED` it sets; None
            when none.
    """

    model: str | None = None
    mode: "Mode | None" = None
    db: str | None = None
    test_command: str | None = None
    test_network: bool | None = None
    mcp_config: str | None = None
    max_steps: int | None = None
    max_tokens: int | None = None
    max_requests: int | None = None
    max_cost: float | None = None
    allow: tuple[str, ...] = ()
    ask: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    agents: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    guarded: tuple[Path, str, tuple[str, ...]] | None = None


_NAMES: Final = tuple(item.name for item in fields(Settings) if item.name not in ("origins", "guarded"))
_INTEGERS: Final = frozenset({"max_steps", "max_tokens", "max_requests"})
USER_ONLY: Final = ("test_network",)
"""The settings that a project cannot set, not even a trusted one."""
_LISTS: Final = frozenset({"allow", "ask", "deny", "tools"})
_SWITCHES: Final = frozenset({"test_network"})
_AGENT_NAMES: Final = ("prompt", "tools", "model", "max_requests", "max_tokens", "max_cost_usd")


def user_folder() -> Path:
    """Return the folder with the user's settings. It need not exist; without a home, it cannot."""
    from platformdirs import user_config_path

    try:
        return user_config_path("loom")
    except RuntimeError:  # neither HOME, nor an entry of the user (in a container)
        return Path(os.devnull, "loom")


def load_settings(workspace: Path | None = None, *, environment: Mapping[str, str] | None = None) -> Settings:
    """Read the layers below the options.

    Args:
        workspace: The folder with the `loom.toml`; the current folder when it is not given.
        environment: The variables; those of the process when they are not given.

    Raises:
        LoomRunError: A file cannot be read, or has an unknown or wrong setting.
    """
    project = (workspace or Path()) / PROJECT_FILE
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    guarded: tuple[Path, str, tuple[str, ...]] | None = None
    for file in (user_folder() / USER_FILE, project):
        values, lines, digest = _read(file)
        if file == project and (wrong := next((name for name in USER_ONLY if name in values), None)):
            raise LoomRunError(
                f"cannot use {file}: line {lines[wrong]} sets {wrong}, which only the user can set. Set it in"
                f" {user_folder() / USER_FILE}, or {_variable(wrong)}."
            )
        agents = {**merged.get("agents", {}), **values.get("agents", {})}
        merged |= values | ({"agents": agents} if agents else {})
        origins |= {name: f"{file}:{line}" for name, line in lines.items()}
        if file == project and (named := tuple(name for name in GUARDED if name in values)):
            guarded = (project, digest, named)
    for name, value in _from_environment(os.environ if environment is None else environment).items():
        merged[name] = value
        origins[name] = _variable(name)
    if guarded is not None:  # an environment variable is set by the user
        remaining = tuple(name for name in guarded[2] if origins[name].startswith(str(project)))
        guarded = (guarded[0], guarded[1], remaining) if remaining else None
    return Settings(**merged, origins=origins, guarded=guarded)


def _read(file: Path) -> tuple[dict[str, Any], dict[str, int], str]:
    """Read one file: its values, the line of each, and the hash of its bytes. A missing file sets
    nothing.
    """
    try:
        data = read_own_file(file)
    except NotOwnFile as exc:
        raise LoomRunError(f"cannot read {file}: {exc}") from exc
    except (FileNotFoundError, NotADirectoryError):
        return {}, {}, ""
    except OSError as exc:
        raise LoomRunError(f"cannot read {file}: {(exc.strerror or str(exc)).lower()}.") from exc
    try:
        text = data.decode()
        whole = decode_toml(data)
    except ValueError as exc:
        raise LoomRunError(f"cannot read {file}: it is not TOML: {str(exc).lower()}. Correct it.") from exc
    values: dict[str, Any] = {}
    for name, value in whole.items():
        if name not in _NAMES:
            raise _unknown(file, _line_of(text, (), name), name, _NAMES)
        values[name] = _agents(file, text, value) if name == "agents" else _value(file, text, (), name, value)
    return values, {name: _line_of(text, (), name) for name in values}, hashlib.sha256(data).hexdigest()


def _agents(file: Path, text: str, value: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(value, dict) or not all(isinstance(agent, dict) for agent in value.values()):
        raise _wrong(file, _line_of(text, (), "agents"), "agents", "tables such as [agents.researcher]")
    agents: dict[str, dict[str, Any]] = {}
    for agent, profile in value.items():
        table = ("agents", agent)
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", agent):
            raise _wrong(file, _line_of(text, table, None), f"the name {agent!r}", "1 to 40 letters, digits, - or _")
        for name in profile:
            if name not in _AGENT_NAMES:
                raise _unknown(file, _line_of(text, table, name), name, _AGENT_NAMES)
        agents[agent] = {name: _value(file, text, table, name, profile[name]) for name in profile}
    return agents


def _value(file: Path, text: str, table: tuple[str, ...], name: str, value: Any) -> Any:
    line = _line_of(text, table, name)
    if name in _LISTS:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise _wrong(file, line, name, "a list of strings")
        return tuple(value)
    if name in _INTEGERS:
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise _wrong(file, line, name, "a whole number of at least 1")
        return value
    if name in _SWITCHES:
        if not isinstance(value, bool):
            raise _wrong(file, line, name, "true or false")
        return value
    if name in ("max_cost", "max_cost_usd"):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
            raise _wrong(file, line, name, "a number of at least 0")
        return float(value)
    if not isinstance(value, str) or not value.strip():
        raise _wrong(file, line, name, "a non-empty string")
    if name == "mode" and value not in MODES:
        raise _wrong(file, line, name, f"one of {', '.join(MODES)}")
    return value


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """Read `LOOM_*`. Lists of rules and agents belong in files; an empty variable counts as not
    set.
    """
    found: dict[str, Any] = {}
    for name in _NAMES:
        text = environment.get(_variable(name), "")
        if name in _LISTS or name == "agents" or not text:
            continue
        value: Any = text
        if name in _INTEGERS or name == "max_cost":
            try:
                value = float(text) if name == "max_cost" else int(text)
            except ValueError:
                value = None
            if value is None or not 0 <= value < float("inf") or (name in _INTEGERS and value < 1):
                raise LoomRunError(f"cannot use {_variable(name)}={text!r}: it is not a number in the allowed range.")
        elif name in _SWITCHES:
            if text not in ("0", "1", "true", "false"):
                raise LoomRunError(f"cannot use {_variable(name)}={text!r}: it is neither true nor false.")
            value = text in ("1", "true")
        elif name == "mode" and text not in MODES:
            raise LoomRunError(f"cannot use {_variable(name)}={text!r}: it is not one of {', '.join(MODES)}.")
        found[name] = value
    return found


def _variable(name: str) -> str:
    return f"LOOM_{name.upper()}"


def _unknown(file: Path, line: int, name: str, known: tuple[str, ...]) -> LoomRunError:
    close = difflib.get_close_matches(name, known, n=1)
    advice = f"Did you mean {close[0]!r}?" if close else f"Known settings: {', '.join(known)}."
    return LoomRunError(f"cannot use {file}: line {line} sets {name!r}, which is not a setting. {advice}")


def _wrong(file: Path, line: int, name: str, expected: str) -> LoomRunError:
    return LoomRunError(f"cannot use {file}: {name} in line {line} is not {expected}. Correct it.")


def _line_of(text: str, table: tuple[str, ...], name: str | None) -> int:
    """Find the line of a key, or of the table itself; `tomllib` does not report it."""
    here: tuple[str, ...] = ()
    for number, line in enumerate(text.split("\n"), 1):
        if header := re.match(r"\s*\[+\s*([^\]]+?)\s*\]+", line):
            here = tuple(part.strip(" \"'") for part in header[1].split("."))
            if (here == table and name is None) or (here[: len(table) + 1] == (*table, name) and name is not None):
                return number
        elif (key := re.match(r"""\s*["']?([\w-]+)["']?\s*[=.]""", line)) and here == table and key[1] == name:
            return number
    return 1
