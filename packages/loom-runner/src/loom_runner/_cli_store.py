"""The commands about a database as a whole, and about what leaves it: pages and rows."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from loom_runner._cli_open import asking, named_run, reading
from loom_runner._errors import UsageError
from loom_runner.cli_base import (
    Output,
    choose_output,
    plural,
    write_error,
    write_json,
    write_line,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["STORE_COMMANDS"]


@click.command("trace")
@asking
@click.option("--html", "html", required=True, type=click.Path(), help="The page to write.")
def trace_command(*, names: tuple[str, ...], run_id: str | None, db: str, output: Output | None, html: str) -> None:
    """Write a run's page (HTML) from its rows.

    It shows every process that ever worked on the run, crashes included, and needs no network.
    """
    from loom_runner._observer import write_trace  # noqa: PLC0415

    name = named_run(names, run_id, "trace").run_id
    with reading(db, name, "trace") as store:
        write_trace(store, name, html)
    mode = choose_output(output)
    if mode == "text":
        write_line(f"{html}  open it in a browser; it needs no network")
    else:
        write_json({"run_id": name, "html": html}, mode)


@click.command("export")
@asking
@click.option("--to", "to", type=click.Path(), help="Write here instead of to stdout.")
def export_command(
    *, names: tuple[str, ...], run_id: str | None, db: str, output: Output | None, to: str | None
) -> None:
    """Write everything on record about a run, as lines of JSON.

    Each line has its `kind`: export, run, process, step, attempt, tool_call, tool_try, approval, signal, child.
    """
    from loom_runner._export import export_rows  # noqa: PLC0415

    if output in ("text", "json"):
        raise UsageError(f"cannot export as {output}: an export is lines of JSON. Leave --output out.")
    name = named_run(names, run_id, "export").run_id
    with reading(db, name, "export") as store, _written_to(to):
        count = 0
        for row in export_rows(store, name):
            write_json(row, "jsonl")
            count += 1
    if to is not None:
        write_error(f"{to}: {plural(count, 'line')} about {name}")


@contextlib.contextmanager
def _written_to(to: str | None) -> Iterator[None]:
    """Let stdout be a file; what was there stays until the new one is whole."""
    if to is None:
        yield
        return
    part = Path(f"{to}.part")
    try:
        with part.open("w", encoding="utf-8") as file, contextlib.redirect_stdout(file):
            yield
        part.replace(to)
    except OSError as exc:
        raise UsageError(f"cannot write {to}: {exc.strerror}. Choose another place.") from exc
    finally:
        part.unlink(missing_ok=True)


STORE_COMMANDS: tuple[click.Command, ...] = (trace_command, export_command)
