"""The options that the commands share, and what they turn them into."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from loom_run._setup import SetupChange

DEFAULT_DB = "runs.sqlite"


class BareFlags(click.Command):
    """A command in which `--mock-llm` stands alone and only `--mock-llm=FILE` takes a value."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments."""
        end = args.index("--") if "--" in args else len(args)
        named = ["--mock-llm=" if arg == "--mock-llm" else arg for arg in args[:end]]
        return super().parse_args(ctx, named + args[end:])


def _together(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _usual_db() -> str:
    from loom_run._config import load_settings

    return load_settings().db or DEFAULT_DB


db_option = click.option(
    "--db",
    default=_usual_db,
    envvar="LOOM_DB",
    show_envvar=True,
    metavar="FILE",
    help=f"The database with the runs; {DEFAULT_DB} when nothing is set.",
)
run_id_option = click.option("--run-id", "-r", metavar="ID", help="The run; without it a new one is made.")
run_argument = _together(
    click.argument("run", required=False, metavar="[RUN]"),
    click.option("--run-id", "-r", metavar="ID", help="The run, when it is not the first argument."),
)
work_output_option = click.option(
    "--output", type=click.Choice(["text", "json", "jsonl"]), default="text", show_default=True
)
setup_options = _together(
    click.option(
        "--mock-llm",
        metavar="[=FILE]",
        help="Work offline: alone, a mock that searches and quotes; with =FILE, a script (JSON or YAML).",
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
    click.option("--test-command", metavar="CMD", help="What run_tests starts; pytest for a new run."),
    click.option(
        "--mode",
        type=click.Choice(["ask", "edits", "auto", "read-only"]),
        help="What needs your word: ask, all that is more than looking (for a new run); edits, all but changes of"
        " files; auto, nothing; read-only, all that is more than looking is refused.",
    ),
    click.option("--allow", multiple=True, metavar="RULE", help="Let calls run: TOOL or TOOL(PATTERN)."),
    click.option("--ask", multiple=True, metavar="RULE", help="Ask about calls."),
    click.option("--deny", multiple=True, metavar="RULE", help="Refuse calls; it wins over the others."),
    click.option(
        "--mcp-config", metavar="FILE", help="MCP servers for more tools; .mcp.json for a new run. `none` for none."
    ),
    click.option("--trust", is_flag=True, help="Trust the project's loom.toml and .mcp.json, which start programs."),
)
limit_options = _together(
    click.option("--max-steps", type=click.IntRange(min=1), metavar="N", help="Pause after N steps."),
    click.option("--max-tokens", type=click.IntRange(min=1), metavar="N", help="Stop when the run has used N tokens."),
    click.option("--max-cost", type=click.FloatRange(min=0), metavar="USD", help="Stop when the run has cost so much."),
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
        help="Stop when the run has worked S seconds; waiting costs nothing.",
    ),
    click.option(
        "--compact-at",
        type=click.IntRange(min=1_000),
        metavar="N",
        help="Sum up the beginning of a conversation of more than N tokens; 100000 for a new run.",
    ),
    click.option(
        "--trace", type=click.Path(path_type=Path), metavar="FILE", help="Write a page (HTML) about the whole run."
    ),
    click.option(
        "--record",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Write the model's replies to a script, for --mock-llm=FILE.",
    ),
)


def one_run(run: str | None, run_id: str | None) -> str:
    """Take the run from the argument or from the option."""
    if (run is None) == (run_id is None):
        raise click.UsageError("name one run: as the argument, or with --run-id")
    return run if run is not None else str(run_id)


def command_text(verb: str, run_id: str, db: str) -> str:
    """Write a command that can be pasted."""
    return f"loom-run {verb} {shlex.quote(run_id)}" + ("" if db == DEFAULT_DB else f" --db {shlex.quote(db)}")


def setup_change(options: dict[str, Any]) -> "SetupChange":
    """Turn the options about the setup into a change of one."""
    from loom_run._config import load_settings
    from loom_run._errors import agent_errors_named
    from loom_run._setup import SetupChange, checked_rules
    from loom_run._trusting import Trusting

    if options["model"] is not None and options["mock_llm"] is not None:
        raise click.UsageError("--model and --mock-llm exclude each other")
    with agent_errors_named():
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
        Trusting.at_terminal(given=options["trust"]),
    )
