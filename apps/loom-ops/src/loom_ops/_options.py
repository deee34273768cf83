"""The options that the commands share, and what they turn them into."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from loom_ops._errors import LoomOpsError

if TYPE_CHECKING:
    from loom_ops._site import Site

DEFAULT_DB = "ops.sqlite"


class BareFlags(click.Command):
    """A command in which `--mock-llm` stands alone and only `--mock-llm=FILE` takes a value."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments."""
        end = args.index("--") if "--" in args else len(args)
        named = ["--mock-llm=" if arg == "--mock-llm" else arg for arg in args[:end]]
        return super().parse_args(ctx, named + args[end:])


db_option = click.option(
    "--db",
    default=DEFAULT_DB,
    show_default=True,
    envvar="LOOM_OPS_DB",
    metavar="FILE",
    help="The database with the runs.",
)
run_option = click.option("--run-id", "-r", required=True, metavar="ID", help="The run.")
run_or_new_option = click.option("--run-id", "-r", metavar="ID", help="The run; without it a new name is made.")
config_option = click.option(
    "--config", type=click.Path(path_type=Path), metavar="FILE", help="Settings; loom-ops.toml here when it is there."
)
mock_option = click.option(
    "--mock-llm", metavar="[=FILE]", help="Plan without a model: every step, in order; or by a script."
)
model_option = click.option(
    "--model", metavar="P:M", envvar="LOOM_MODEL", show_envvar=True, help="Who plans: openai:gpt-5, ollama:qwen3, ..."
)
trace_option = click.option(
    "--trace", type=click.Path(path_type=Path), metavar="FILE", help="Write a page about the team."
)
inputs_option = click.option(
    "--input", "-i", "inputs", multiple=True, metavar="NAME=VALUE", help="An input of the runbook."
)
drill_option = click.option("--drill", is_flag=True, help="Work on a small slow service that this command starts.")
note_option = click.option("--note", default="", metavar="TEXT", help="Why; it is kept in the audit trail.")


def model_name(options: dict[str, Any]) -> str | None:
    mock, model = options.get("mock_llm"), options.get("model")
    if mock is None:
        return None if model is None else str(model)
    return f"script:{Path(mock).resolve()}" if mock else "mock"


def site_of(config: Path | None) -> "Site":
    from loom_ops._site import load_site

    return load_site(Path.cwd(), config)


def must_exist(db: str) -> None:
    if not Path(db).exists():
        raise LoomOpsError(
            f"cannot open {db}: there is no such database. Start with loom-ops supervise, or name another --db."
        )
