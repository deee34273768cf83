"""The commands that stay and serve: HTTP, Telegram, a drill by itself."""

import shlex
from pathlib import Path
from typing import Any

import click
from loom_runner.cli_base import ExitCode, run_async, write_error, write_line

from loom_ops._errors import LoomOpsError
from loom_ops._options import BareFlags, config_option, db_option, mock_option, model_name, model_option, site_of


@click.command(cls=BareFlags)
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", type=click.IntRange(0, 65535), default=8734, show_default=True, help="0 takes any.")
@click.option("--token-file", type=click.Path(path_type=Path), metavar="FILE", help="Who may do what (TOML).")
@click.option("--allow-host", multiple=True, metavar="NAME", help="One more name that the server is called by.")
@db_option
@mock_option
@model_option
@config_option
def serve(
    *, host: str, port: int, token_file: Path | None, allow_host: tuple[str, ...], db: str, **options: Any
) -> int:
    """Serve incidents over HTTP, with a page.

    Start runs, watch them live, approve their steps.
    """
    try:
        from loom_agents.serve import serve as serve_product
    except ImportError as exc:
        raise LoomOpsError(f"cannot serve: {exc.name!r} is not installed. Install loom-ops[serve].") from exc
    from loom_ops._reader import opened
    from loom_ops._served import ServedIncidents
    from loom_ops._work import model_named

    model = model_name(options)
    if model is None:
        raise click.UsageError("no model: use --model PROVIDER:MODEL, or --mock-llm to plan without one")
    model_named(model)

    def told(address: str, token: str | None) -> None:
        write_error(f"loom-ops serves {db} at {address}" + (f"#token={token}" if token else ""))
        write_error("Ctrl-C ends it; what is at work then is gone on with by loom-ops resume")

    with opened(db, existing=False) as store:
        served = ServedIncidents(store, site_of(options["config"]), model, is_owners=token_file is None)
        run_async(
            serve_product(served, host=host, port=port, token_file=token_file, allowed_hosts=allow_host, told=told)
        )
    return ExitCode.DONE


@click.command(cls=BareFlags)
@db_option
@mock_option
@model_option
@config_option
def telegram(*, db: str, **options: Any) -> int:
    """Ask for approvals on Telegram, and go on with the runs."""
    try:
        from loom_ops._telegram import bot_of, serve_telegram
    except ImportError as exc:
        raise LoomOpsError(f"cannot use Telegram: {exc.name!r} is not installed. Install loom-ops[telegram].") from exc
    from loom_ops._reader import opened
    from loom_ops._served import ServedIncidents

    site = site_of(options["config"])
    bot = bot_of(site)
    with opened(db, existing=False) as store:
        run_async(serve_telegram(bot, ServedIncidents(store, site, model_name(options) or "mock")))
    return ExitCode.DONE


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), default=Path("drill"), show_default=True, metavar="DIR")
def drill(*, folder: Path) -> None:
    """Start the small slow service by itself.

    It serves until Ctrl-C; its programs are in DIR/bin.
    """
    import threading

    from loom_ops._drill import Drill

    practice = Drill(folder)
    with practice.serving() as url:
        write_line(f"This is a drill: {url} runs {practice.release}, which is slow.")
        write_error(f"make it fast: {shlex.quote(str(folder / 'bin' / 'rollback-service'))} api    Ctrl-C ends it")
        threading.Event().wait()  # Ctrl-C ends it


FACE_COMMANDS = (drill, serve, telegram)
