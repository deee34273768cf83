"""The options that the commands share, and what is built from them."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from loom_runner.cli_base import sqlite_path, trust_option

from loom_run._config.settings import MODES

if TYPE_CHECKING:
    from loom_run._config.setup_change import SetupChange

DEFAULT_DB = "runs.sqlite"


def _together(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _default_db() -> str:
    from loom_run._config.settings import load_settings

    return load_settings().db or DEFAULT_DB


_db_option = click.option(
    "--db",
    type=sqlite_path,
    default=_default_db,
    envvar="LOOM_DB",
    show_envvar=True,
    metavar="FILE",
    help=f"The database with the runs; {DEFAULT_DB} by default.",
)


def db_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--db`, and `--trust` to a command without `setup_options`, which has it."""
    has_trust = any(param.name == "trust" for param in getattr(command, "__click_params__", ()))
    return _db_option(command if has_trust else trust_option(command))


run_id_option = click.option("--run-id", "-r", metavar="ID", help="The id of the run; without it a new run is started.")
run_argument = _together(
    click.argument("run", required=False, metavar="[RUN]"),
    click.option("--run-id", "-r", metavar="ID", help="The run, when it is not the first argument."),
)
drive_output_option = click.option(
    "--output", type=click.Choice(["text", "json", "jsonl"]), default="text", show_default=True
)
setup_options = _together(
    click.option(
        "--mock-llm",
        metavar="[=FILE]",
        help="Work offline: without FILE, a mock that searches and quotes; with =FILE, a script (JSON or YAML).",
    ),
    click.option(
        "--model", metavar="P:M", help="Provider and model: openai:gpt-5, ollama:qwen3, ...  [env var: LOOM_MODEL]"
    ),
    click.option(
        "--workspace",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="The folder to work in; the current one for a new run.",
    ),
    click.option("--test-command", metavar="CMD", help="The command that run_tests starts; pytest for a new run."),
    click.option(
        "--mode",
        type=click.Choice(MODES),
        help="Which calls need approval. ask: all that do more than read (the default of a new run); edits: the same,"
        " except file changes; auto: none; read-only: all that do more than read are denied.",
    ),
    click.option(
        "--allow", multiple=True, metavar="RULE", help="Run these calls without approval: TOOL or TOOL(PATTERN)."
    ),
    click.option("--ask", multiple=True, metavar="RULE", help="Ask for approval of these calls."),
    click.option("--deny", multiple=True, metavar="RULE", help="Deny these calls; --deny overrides the others."),
    click.option(
        "--mcp-config", metavar="FILE", help="The file of MCP servers; .mcp.json for a new run, `none` for no servers."
    ),
    click.option(
        "--trust",
        is_flag=True,
        help="Trust what the workspace would run (its tests, loom.toml, .mcp.json), and the database.",
    ),
)
limit_options = _together(
    click.option("--max-steps", type=click.IntRange(min=1), metavar="N", help="Pause after N steps."),
    click.option("--max-tokens", type=click.IntRange(min=1), metavar="N", help="Stop when the run has used N tokens."),
    click.option(
        "--max-cost", type=click.FloatRange(min=0), metavar="USD", help="Stop when the run has cost USD dollars."
    ),
    click.option(
        "--max-requests",
        type=click.IntRange(min=1),
        metavar="N",
        help="Stop after N model requests in one turn; 50 for a new run.",
    ),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        metavar="S",
        help="Stop when the run has worked S seconds; waiting does not count.",
    ),
    click.option(
        "--compact-at",
        type=click.IntRange(min=1_000),
        metavar="N",
        help="Summarize the beginning of a conversation of more than N tokens; 100000 for a new run.",
    ),
    click.option(
        "--trace",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Write a trace of the whole run as an HTML page.",
    ),
    click.option(
        "--record",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Record the model's replies as a script for --mock-llm=FILE.",
    ),
)


def required_run(run: str | None, run_id: str | None) -> str:
    """Return the run that the argument or the option names.

    Raises:
        UsageError: Neither or both name one.
    """
    if (run is None) == (run_id is None):
        raise click.UsageError("name one run: as the argument, or with --run-id")
    return run if run is not None else str(run_id)


def command_text(verb: str, run_id: str, db: str) -> str:
    """Write a command that can be pasted into a shell."""
    return shlex.join(["loom-run", *verb.split(), run_id, *([] if db == DEFAULT_DB else ["--db", db])])


def setup_change(options: dict[str, Any]) -> "SetupChange":
    """Build a `SetupChange` from the options about the setup."""
    from loom_run._config.settings import load_settings
    from loom_run._config.setup_change import SetupChange, checked_rules
    from loom_run._config.trust import TrustPrompt
    from loom_run._errors import LOOM_RUN

    if options["model"] is not None and options["mock_llm"] is not None:
        raise click.UsageError("--model and --mock-llm exclude each other")
    with LOOM_RUN.translate_agent_errors():
        rules = checked_rules(allow=options["allow"], ask=options["ask"], deny=options["deny"])
    settings = load_settings(options["workspace"])
    return SetupChange(
        options["workspace"],
        options["model"],
        options["mock_llm"],
        options["test_command"],
        options["mode"],
        rules,
        options["mcp_config"],
        options.get("compact_at"),
        settings,
        TrustPrompt.at_terminal(given=options["trust"]),
    )
