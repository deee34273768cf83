"""The options that commands share, and functions that evaluate them."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from loom_runner.cli_base import may_write_database, sqlite_path, trust_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from loom_ops._site import Site

__all__ = [
    "config_option",
    "db_option",
    "drill_option",
    "given_inputs",
    "inputs_option",
    "load_settings",
    "mock_option",
    "model_name",
    "model_option",
    "must_only_read",
    "new_run_option",
    "note_option",
    "pasteable",
    "require_model",
    "run_option",
    "trace_option",
]

DEFAULT_DB: Final = "ops.sqlite"


_db_option = click.option(
    "--db",
    type=sqlite_path,
    default=DEFAULT_DB,
    show_default=True,
    envvar="LOOM_OPS_DB",
    show_envvar=True,
    metavar="FILE",
    help="The database of the runs.",
)


def db_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--db` and `--trust`."""
    return _db_option(trust_option(command))


run_option = click.option("--run-id", "-r", required=True, metavar="ID", help="The run.")
new_run_option = click.option("--run-id", "-r", metavar="ID", help="The id of the run; a new one by default.")
config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The settings; by default loom-ops.toml in this folder, if it exists.",
)
mock_option = click.option(
    "--mock-llm",
    metavar="[=FILE]",
    help="Plan without a model: every step, in order; with =FILE, use the replies of a script.",
)
model_option = click.option(
    "--model",
    metavar="P:M",
    envvar="LOOM_MODEL",
    show_envvar=True,
    help="The planner's model: openai:gpt-5, ollama:qwen3, ...",
)
trace_option = click.option(
    "--trace", type=click.Path(path_type=Path), metavar="FILE", help="Write a trace of the team as one HTML file."
)
inputs_option = click.option(
    "--input", "-i", "inputs", multiple=True, metavar="NAME=VALUE", help="An input of the runbook; repeatable."
)
drill_option = click.option(
    "--drill", is_flag=True, help="Practise on a small slow service that this command starts on loopback."
)
note_option = click.option("--note", default="", metavar="TEXT", help="The reason; it is stored in the audit trail.")


def model_name(options: dict[str, Any]) -> str | None:
    """Return the name of the model in the options; None when they have none."""
    mock, model = options.get("mock_llm"), options.get("model")
    if mock is None:
        return None if model is None else str(model)
    return f"script:{Path(mock).resolve()}" if mock else "mock"


def require_model(options: dict[str, Any]) -> str:
    """Return the name of the model in the options.

    Raises:
        click.UsageError: They have none.
    """
    name = model_name(options)
    if name is None:
        raise click.UsageError("no model: use --model PROVIDER:MODEL, or --mock-llm to plan without one")
    return name


def given_inputs(inputs: tuple[str, ...]) -> dict[str, str]:
    """Parse the inputs that were given as NAME=VALUE.

    Raises:
        click.UsageError: One has another form.
    """
    values = {}
    for text in inputs:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.UsageError(f"--input {text!r} is not NAME=VALUE")
        values[name] = value
    return values


def load_settings(config: Path | None) -> Site:
    """Read the settings of the current folder, or those of a file."""
    from loom_ops._site import load_site

    return load_site(Path.cwd(), config)


def must_only_read(db: str) -> bool:
    """Return whether a command that reports must write nothing to a database, not even newer forms
    of its tables: somebody else made it, or the system does not permit it.
    """
    return not may_write_database(db)


def pasteable(verb: str, run_id: str, db: str, *more: str) -> str:
    """Return a loom-ops command for a run, quoted for a shell."""
    run = (run_id,) if verb == "rollback" else ("--run-id", run_id)
    return shlex.join(("loom-ops", verb, *run, "--db", db, *more))
