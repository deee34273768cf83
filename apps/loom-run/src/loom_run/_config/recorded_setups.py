"""Which stored setups this user gave.

A run's setup is stored in its state, so that `resume` needs no options: the folder, the test
command, what needs approval, the MCP servers. A database may come from elsewhere, or may have been
changed, so what could start a program or widen what is allowed counts only if this user gave it:
each setup that a command of the user makes is recorded, by its hash, in a folder that only the user
can write (`$XDG_STATE_HOME/loom/setups`). Of another setup, those parts come from the present
configuration, and the difference is shown.
"""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from flow_xray.terminal import visible_line
from loom_runner.cli_base import records_problem, user_state_folder, write_error

from loom_run._config.settings import Settings
from loom_run._config.trust import TrustPrompt
from loom_run._errors import LoomRunError

__all__ = ["given_setup", "record_setup"]

_WHAT = {
    "workspace": "folder",
    "model": "model",
    "test_command": "test command",
    "mode": "mode",
    "rules": "rules",
    "mcp": "MCP servers",
    "agents": "agents",
}


def record_setup(database_id: str, setup: Mapping[str, Any]) -> None:
    """Record a setup that the user gave; without a home nothing is recorded."""
    folder = user_state_folder("setups", create=True)
    if folder is not None:
        with suppress(OSError):
            (folder / _digest(database_id, setup)).touch(mode=0o600)


def given_setup(
    database_id: str,
    stored: Mapping[str, Any],
    settings: Settings,
    trust: TrustPrompt,
    *,
    named: Collection[str] = (),
    quiet: bool = False,
) -> dict[str, Any]:
    """Return a stored setup, with what the user has not given replaced by what is set now.

    Args:
        database_id: The database that it is stored in.
        stored: The stored form.
        settings: The present settings.
        trust: Decides about those of a project.
        named: What the command line sets after this.
        quiet: Do not show the difference.

    Raises:
        LoomRunError: The file of the settings is not trusted, or no model is set instead of a
            stored script.
    """
    folder = user_state_folder("setups")
    with suppress(OSError):
        if folder is not None and (folder / _digest(database_id, stored)).is_file():
            return dict(stored)
    trust.require(settings)
    present = {name: value for name, value in _present(stored, settings) if name not in named}
    if "model" in present and present["model"] is None:
        raise LoomRunError(
            f"cannot use the model stored in the run, {stored['model']!r}: it is not recorded that this user chose that"
            f" script{_why_not_recorded()}. Give --model PROVIDER:MODEL or --mock-llm[=FILE]."
        )
    for name, value in present.items():
        if not quiet and stored.get(name, value) != value:
            before, now = (json.dumps(one, ensure_ascii=False) for one in (stored.get(name), value))
            write_error(
                visible_line(f"note: the {_WHAT[name]} stored in the run, {before:.200}, is not used: now {now:.200}")
            )
    return {**stored, **present}


def _present(stored: Mapping[str, Any], settings: Settings) -> Iterator[tuple[str, Any]]:
    yield "workspace", str(Path.cwd())
    if str(stored.get("model")).startswith("script:"):
        yield "model", settings.model
    command = settings.test_command
    yield "test_command", None if command is None else _words(command)
    yield "mode", "read-only" if stored.get("mode") == "read-only" else settings.mode or "ask"
    kept = [rule for rule in stored.get("rules", ()) if str(rule).partition(" ")[0] in ("ask", "deny")]
    now = [
        f"{how} {text}"
        for how, texts in (("allow", settings.allow), ("ask", settings.ask), ("deny", settings.deny))
        for text in texts
    ]
    yield "rules", [*now, *(rule for rule in kept if rule not in now)]
    yield "mcp", settings.mcp_config


def _why_not_recorded() -> str:
    problem = records_problem()
    return "" if problem is None else f" ({problem.rstrip('.')})"


def _words(command: str) -> list[str]:
    import shlex

    try:
        return shlex.split(command)
    except ValueError as exc:
        raise LoomRunError(f"cannot use the test command {command!r}: its quotes ({exc}).") from exc


def _digest(database_id: str, setup: Mapping[str, Any]) -> str:
    text = json.dumps([database_id, dict(setup)], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
