"""The commands about a whole database, and those that write pages and exports."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from loom_runner._cli.base import Amount, Count, ExitCode, run_async
from loom_runner._cli.options import (
    db_option,
    db_suffix,
    open_database,
    open_run_database,
    parse_run,
    query_all_options,
    query_options,
)
from loom_runner._cli.output import (
    Output,
    choose_output,
    output_option,
    user_output_to_stderr,
    write_error,
    write_json,
    write_line,
    write_rows,
)
from loom_runner._cli.trust import trust_option
from loom_runner._model.formatting import counted, one_line, plural, size
from loom_runner.errors import UsageError
from loom_runner.own_files import create_own_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["STORE_COMMANDS"]


@click.command("trace")
@query_options
@click.option("--html", "html", type=click.Path(), help="The page to write; by default RUN.html.")
def trace_command(
    *, names: tuple[str, ...], run_id: str | None, db: str, output: Output | None, html: str | None
) -> None:
    """Write a run's trace page (HTML) from its rows.

    It shows every process that ever drove the run, including crashes, and needs no network.
    """
    from loom_runner._queries.hints import page_name
    from loom_runner._queries.tracing import write_trace

    name = parse_run(names, run_id, "trace").run_id
    html = html or page_name(name)
    with open_run_database(db, name, "trace") as store:
        folded = write_trace(store.reader, name, html)
    if folded is not None:
        write_error(f"{folded}. One by one: loom-runner history {shlex.quote(name)} --first N{db_suffix(db)}")
    mode = choose_output(output)
    if mode == "text":
        write_line(f"{html}  open it in a browser; it needs no network")
    else:
        write_json({"run_id": name, "html": html}, mode)


@click.command("export")
@query_options
@click.option("--to", "to", type=click.Path(), help="Write here instead of to stdout.")
def export_command(
    *, names: tuple[str, ...], run_id: str | None, db: str, output: Output | None, to: str | None
) -> None:
    """Write all that is recorded about a run, as JSON lines.

    Each line has its `kind`: export, run, process, step, attempt, tool_call, tool_try, approval,
    signal, child.
    """
    from loom_runner._queries.export import export_rows

    if output in ("text", "json"):
        raise UsageError(f"cannot export as {output}: an export is lines of JSON. Leave --output out.")
    name = parse_run(names, run_id, "export").run_id
    with open_run_database(db, name, "export") as store:
        rows = export_rows(store.reader, name)
        if to is not None:
            write_error(f"{to}: {plural(_written(rows, Path(to)), 'line')} about {name}")
            return
        for row in rows:
            write_json(row, "jsonl")


def _written(rows: Iterable[Mapping[str, Any]], target: Path) -> int:
    """Write rows to a file, which is replaced when all rows are written; return their number."""
    part = Path(f"{target}.part")
    is_special = target.exists() and not target.is_file()  # a pipe or a device is not replaced
    count = 0
    try:
        open_special = functools.partial(target.open, "w", encoding="utf-8", errors="backslashreplace")
        with open_special() if is_special else create_own_file(part) as file:
            for row in rows:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                count += 1
        if not is_special:
            part.replace(target)
    except OSError as exc:
        raise UsageError(f"cannot write {target}: {exc.strerror}. Choose another place.") from exc
    finally:
        if not is_special:
            part.unlink(missing_ok=True)
    return count


@click.command()
@query_all_options
def verify(names: tuple[str, ...], run_id: str | None, db: str, output: Output | None) -> int:
    """Read everything once and report problems.

    Without RUN, the whole database. With MODULE RUN, also check that the module's types fit every
    state of the run that is kept. The exit code is 1 if there are problems.
    """
    from loom_runner._cli.agent_module import load_module
    from loom_runner._store.sqlite.verify import Problem, VerifyReport

    named = parse_run(names, run_id, "verify") if names or run_id else None
    name = None if named is None else named.run_id
    with open_database(db, "verify") if name is None else open_run_database(db, name, "verify") as store:
        report = store.reader.verify(name)
    if named is not None and named.module is not None:
        with user_output_to_stderr(), contextlib.closing(load_module(named.module).runner(db, None)) as runner:
            fit = runner.verify_run(named.run_id)
        misfits = tuple(
            Problem(f"step {one['step_index']} of run {name}", one["problem"], name, one["step_index"])
            for one in fit["problems"]
        )
        report = VerifyReport((*report.problems, *misfits), report.checked)
    mode = choose_output(output)
    if mode != "text":
        write_json(report.as_json(), mode)
    else:
        read = counted(report.checked)
        write_line(f"{name or db}  {'no problems' if report.ok else plural(len(report.problems), 'problem')}  {read}")
        for problem in report.problems:
            write_line(f"  {problem.where}  {one_line(problem.what)}")
    return ExitCode.DONE if report.ok else ExitCode.FAILED


@click.command()
@query_all_options
@click.option("--keep", metavar="HOW", help="Keep the runs and delete steps: last:N, every:N or latest.")
@click.option("--days", type=Amount(min=0, max=36500), help="Only runs that have not changed for this many days.")
@click.option("--yes", is_flag=True, help="Delete; without this, only print what would be deleted.")
@click.option("--vacuum", is_flag=True, help="Return free space to the file system afterwards.")
@trust_option
def prune(
    *,
    names: tuple[str, ...],
    run_id: str | None,
    db: str,
    output: Output | None,
    keep: str | None,
    days: float | None,
    yes: bool,
    vacuum: bool,
) -> None:
    """Delete runs that have ended, or steps of runs.

    Without --keep, completed, failed and cancelled runs are deleted, with their children. With
    --keep, only steps are deleted. Without RUN, of the whole database. Nothing is deleted without
    --yes.
    """
    from loom_runner._model.retention import parse_keep

    name = parse_run(names, run_id, "prune", only_run=True).run_id if names or run_id else None
    what: dict[str, Any] = {"run_id": name, "keep": None if keep is None else parse_keep(keep)}
    if days is not None:
        what["before_us"] = time.time_ns() // 1000 - int(days * 86_400_000_000)
    with (
        open_database(db, "prune", read_only=not yes)
        if name is None
        else open_run_database(db, name, "prune", read_only=not yes) as store
    ):
        report = run_async(store.prune(**what)) if yes else store.reader.plan_prune(**what)
        freed = store.vacuum() if yes and vacuum else 0
    mode = choose_output(output)
    if mode != "text":
        write_json(report.as_json() | {"is_done": yes, "freed_bytes": freed}, mode)
        return
    deleted = f"{plural(report.runs, 'run')}, {plural(report.steps, 'step')}, {plural(report.blobs, 'blob')}"
    shrunk = f", {size(freed)} freed" if vacuum and yes else ""
    write_line(f"{'deleted' if yes else 'would be deleted'}: {deleted} ({size(report.blob_bytes)}){shrunk}")
    if not yes:
        write_error("delete: the same command with --yes")


@click.command("query")
@click.argument("sql")
@click.option("--limit", type=Count(min=1), default=10_000, show_default=True, help="The largest number of rows.")
@click.option(
    "--timeout-s",
    type=Amount(min=0.001, max=86400),
    default=30.0,
    show_default=True,
    help="The longest time in seconds.",
)
@db_option
@output_option
def query_command(*, sql: str, limit: int, timeout_s: float, db: str, output: Output | None) -> None:
    """Answer a question in SQL.

    This may be done at any time, also while runs are driven. SQL is one statement that only reads,
    for instance "SELECT status, count(*) AS n FROM runs GROUP BY status". The tables may change
    between versions; "SELECT name, sql FROM sqlite_schema" shows them. Large and encrypted values
    are bytes, shown as x'...'.
    """
    from loom_runner._queries.runs import Runs

    with open_database(db, "query") as store:
        found = Runs(store).query(sql, limit=limit, timeout_s=timeout_s)
    rows = [{name: _plain(value) for name, value in row.items()} for row in found]
    columns = {name: _column(name) for name in rows[0]} if rows else {}
    write_rows(rows, columns, choose_output(output), empty="No rows.")


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    return str(value) if isinstance(value, float) and math.isinf(value) else value  # JSON has no infinity


def _column(name: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda row: "" if row[name] is None else one_line(str(row[name]))


@click.command("backup")
@click.argument("path", type=click.Path())
@db_option
@output_option
def backup_command(path: str, db: str, output: Output | None) -> None:
    """Write a copy of the database to the new file PATH.

    This may be done at any time, also while runs are driven. The copy is complete in one file. An
    existing file is not overwritten.
    """
    from loom_runner._queries.runs import Runs

    with open_database(db, "back up") as store:
        size_bytes = Runs(store).backup(path)
    mode = choose_output(output)
    if mode == "text":
        write_line(f"{path}  {size(size_bytes)}")
    else:
        write_json({"path": path, "size_bytes": size_bytes}, mode)


STORE_COMMANDS: tuple[click.Command, ...] = (
    trace_command,
    export_command,
    verify,
    prune,
    query_command,
    backup_command,
)
