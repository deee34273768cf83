"""The commands that serve until they are interrupted: serve, telegram, drill."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click
from loom_runner.cli_base import ExitCode, run_async, write_error, write_line

from loom_ops._cli.options import (
    BareFlags,
    config_option,
    db_option,
    load_settings,
    mock_option,
    model_name,
    model_option,
    require_model,
)
from loom_ops._errors import LoomOpsError

__all__ = ["SERVER_COMMANDS"]


@click.command(cls=BareFlags)
@click.option("--host", default="127.0.0.1", show_default=True, metavar="HOST", help="The address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8734,
    show_default=True,
    metavar="PORT",
    help="The port to listen on; 0 for any free one.",
)
@click.option("--token-file", type=click.Path(path_type=Path), metavar="FILE", help="Tokens and their scopes (TOML).")
@click.option("--allow-host", multiple=True, metavar="NAME", help="A further host name of this server; repeatable.")
@db_option
@mock_option
@model_option
@config_option
def serve(
    *, host: str, port: int, token_file: Path | None, allow_host: tuple[str, ...], db: str, **options: Any
) -> int:
    """Serve incidents over HTTP, with a web page.

    Start runs, watch them live, approve their steps.
    """
    try:
        from loom_agents.serve import serve as serve_product
    except ImportError as exc:
        raise LoomOpsError(f"cannot serve: {exc.name!r} is not installed. Install loom-ops[serve].") from exc
    from loom_ops._incidents.models import load_model
    from loom_ops._interfaces.http import IncidentProduct
    from loom_ops._runs import open_runs

    model = require_model(options)
    load_model(model)

    def print_address(address: str, token: str | None) -> None:
        write_error(f"loom-ops serves {db} at {address}" + (f"#token={token}" if token else ""))
        write_error("Press Ctrl-C to stop; loom-ops resume continues runs that are interrupted by that.")

    with open_runs(db, must_exist=False) as store:
        product = IncidentProduct(
            store, Path(db), load_settings(options["config"]), model, is_owners=token_file is None
        )
        run_async(
            serve_product(
                product, host=host, port=port, token_file=token_file, allowed_hosts=allow_host, on_ready=print_address
            )
        )
    return ExitCode.DONE


@click.command(cls=BareFlags)
@db_option
@mock_option
@model_option
@config_option
def telegram(*, db: str, **options: Any) -> int:
    """Ask for approvals on Telegram, and resume runs after decisions."""
    try:
        from loom_ops._interfaces.telegram.bot import bot_of, serve_telegram
    except ImportError as exc:
        raise LoomOpsError(f"cannot use Telegram: {exc.name!r} is not installed. Install loom-ops[telegram].") from exc
    from loom_ops._incidents.models import MOCK
    from loom_ops._interfaces.http import IncidentProduct
    from loom_ops._runs import open_runs

    site = load_settings(options["config"])
    bot = bot_of(site)
    with open_runs(db, must_exist=False) as store:
        run_async(serve_telegram(bot, IncidentProduct(store, Path(db), site, model_name(options) or MOCK)))
    return ExitCode.DONE


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("drill"),
    show_default=True,
    metavar="DIR",
    help="Where its programs and its state are.",
)
def drill(*, folder: Path) -> None:
    """Serve the small slow service of a drill on its own.

    Its programs are in DIR/bin. It serves until Ctrl-C.
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
