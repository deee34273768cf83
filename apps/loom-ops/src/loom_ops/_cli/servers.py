"""The commands that serve until they are interrupted: serve, telegram, drill."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from loom_agents.cli import BareFlags, serve_options
from loom_runner.cli_base import ExitCode, run_async, write_error, write_line

from loom_ops._cli.options import (
    config_option,
    db_option,
    load_settings,
    mock_option,
    model_name,
    model_option,
    require_model,
)
from loom_ops._errors import LOOM_OPS, LoomOpsError

if TYPE_CHECKING:
    from loom_runner import SQLiteStore

    from loom_ops._interfaces.http import IncidentProduct

__all__ = ["SERVER_COMMANDS"]


@click.command(cls=BareFlags)
@serve_options(port=8734)
@db_option
@mock_option
@model_option
@config_option
def serve(*, db: str, **options: Any) -> int:
    """Serve incidents over HTTP, with a web page.

    Clients start runs, watch them live and approve their steps.
    """
    from loom_ops._incidents.models import load_model

    model = require_model(options)
    load_model(model)

    def build(store: SQLiteStore) -> IncidentProduct:
        from loom_ops._interfaces.http import IncidentProduct

        is_owners = options["token_file"] is None
        return IncidentProduct(store, Path(db), load_settings(options["config"]), model, is_owners=is_owners)

    return LOOM_OPS.serve(build, db, options)


@click.command(cls=BareFlags)
@db_option
@mock_option
@model_option
@config_option
def telegram(*, db: str, **options: Any) -> int:
    """Request approvals on Telegram, and resume runs after decisions."""
    try:
        from loom_ops._interfaces.telegram.bot import bot_of, serve_telegram
    except ImportError as exc:
        raise LoomOpsError(f"cannot use Telegram: {exc.name!r} is not installed. Install loom-ops[telegram].") from exc
    from loom_ops._incidents.models import MOCK
    from loom_ops._interfaces.http import IncidentProduct

    site = load_settings(options["config"])
    bot = bot_of(site)
    with LOOM_OPS.open_database(db, must_exist=False) as store:
        run_async(serve_telegram(bot, IncidentProduct(store, Path(db), site, model_name(options) or MOCK)))
    return ExitCode.DONE


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("drill"),
    show_default=True,
    metavar="DIR",
    help="The folder of its programs and its state.",
)
def drill(*, folder: Path) -> None:
    """Serve the small slow service of a drill.

    Its programs are in DIR/bin. Ctrl-C stops it.
    """
    import threading

    from loom_ops._drill import Drill

    practice = Drill(folder)
    with practice.serving() as url:
        write_line(f"This is a drill: {url} runs {practice.release}, which is slow.")
        command = shlex.quote(str(folder / "bin" / "rollback-service"))
        write_error(f"Make it fast with {command} api; stop with Ctrl-C.")
        threading.Event().wait()  # until Ctrl-C


SERVER_COMMANDS = (drill, serve, telegram)
