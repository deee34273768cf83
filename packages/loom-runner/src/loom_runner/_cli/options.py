"""Options that commands share: naming a run and its database, and opening the database.

Every command names a run as `[MODULE] RUN`; RUN may be given as `--run-id RUN` instead.
"""

from __future__ import annotations

import contextlib
import json
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from loom_runner._cli.output import output_option
from loom_runner._cli.trust import allow_database, remember_database
from loom_runner._model.formatting import shorten
from loom_runner._store.address import database_exists, sqlite_path
from loom_runner._store.lookup import read_run
from loom_runner.errors import UnknownRun, UsageError
from loom_runner.run_ids import call_id, check_run_id, parse_id, request_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from loom_runner._store.sqlite.store import SQLiteStore

__all__ = [
    "NamedRun",
    "by_option",
    "checked_run_id",
    "db_option",
    "db_suffix",
    "json_text",
    "local_time",
    "open_database",
    "open_run_database",
    "parse_json",
    "parse_run",
    "query_all_options",
    "query_options",
    "require_database",
    "resume_hint",
    "run_arguments",
    "run_arguments_as",
]

DEFAULT_DB = "runs.sqlite"
_NO_FILES = (":memory:", "-")
"""Names with a meaning elsewhere. A file of such a name can be given as `./-`."""


def database_file(address: str) -> str:
    """Return the file that `--db` names.

    Raises:
        UsageError: It names no file: it is empty, `:memory:`, or `-`.
    """
    path = sqlite_path(address)
    if path.strip() in _NO_FILES:
        raise UsageError(
            f"cannot use --db {path.strip()}: it is no file, and a run in it could not be resumed or read by another "
            "command. Name a file, for instance runs.sqlite."
        )
    return path


db_option = click.option(
    "--db",
    type=database_file,
    metavar="FILE",
    default=DEFAULT_DB,
    show_default=True,
    help="The database file.",
)
by_option = click.option("--by", metavar="WHO", default=None, help="Who decides; by default the user's name.")


@dataclass(frozen=True, slots=True)
class NamedRun:
    """The run that a command line names, and its module if it is given."""

    module: str | None
    run_id: str
    call: int | None = None
    """The tool call, if a call was named (`RUN#3`)."""
    request: int | None = None
    """The approval request, if one was named (`RUN#r3`)."""

    @property
    def item(self) -> str | None:
        """The id of the call or the request; None if a run was named."""
        if self.call is not None:
            return call_id(self.run_id, self.call)
        return None if self.request is None else request_id(self.run_id, self.request)


def run_arguments_as(usage: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the arguments for `parse_run`, and `--db`, to a command; the help shows `usage`."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in (
            db_option,
            click.option("--run-id", metavar="RUN", help="The run, if it is not the last argument."),
            click.argument("names", nargs=-1, metavar=usage),
        ):
            command = option(command)
        return command

    return decorate


run_arguments = run_arguments_as("[MODULE] RUN")


def query_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `[MODULE] RUN` and `--output` to a command."""
    return run_arguments(output_option(command))


def query_all_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `[[MODULE] RUN]` and `--output` to a command that without a run is about all runs."""
    return run_arguments_as("[[MODULE] RUN]")(output_option(command))


def parse_run(names: tuple[str, ...], run_id: str | None, verb: str, *, only_run: bool = False) -> NamedRun:
    """Parse the arguments that `run_arguments` added.

    Args:
        only_run: The command changes a run, so an id of a call or a request is refused. Other
            commands take it as its run.

    Raises:
        UsageError: No run is named, there are too many arguments, or the id is not valid.
    """
    rest = names if run_id is not None else names[:-1]
    name = run_id if run_id is not None else (names[-1] if names else None)
    if name is None:
        raise UsageError(f"cannot {verb} a run: name one, as the last argument or with --run-id RUN.")
    if len(rest) > 1:
        raise UsageError(f"cannot {verb} a run: {shorten(rest[1], 40)!r} is one argument too many. Name one run.")
    module = rest[0] if rest else None
    run, kind, number = (name, "run", 0) if verb == "run" else parse_id(name)
    if kind == "run":
        return NamedRun(module, checked_run_id(name, verb))
    checked_run_id(run, verb)
    if only_run:
        what = "a tool call" if kind == "call" else "an approval request"
        raise UsageError(f"cannot {verb} {shorten(name, 60)!r}: it names {what}. Name its run: {shlex.quote(run)}.")
    return NamedRun(module, run, number if kind == "call" else None, number if kind == "request" else None)


def checked_run_id(name: str, verb: str) -> str:
    """Return a valid run id.

    Raises:
        UsageError: It is not valid; the message shortens a long one.
    """
    if len(name) > 200:
        raise UsageError(
            f"cannot {verb} {shorten(name, 40)!r}: a run id has at most 200 characters, this one has {len(name):,}."
        )
    check_run_id(name, verb)
    return name


@contextlib.contextmanager
def open_database(db: str, verb: str, *, read_only: bool = True) -> Iterator[SQLiteStore]:
    """Open an existing database."""
    from loom_runner._store.sqlite.store import SQLiteStore

    if not database_exists(db):
        raise UnknownRun(f"cannot {verb}: there is no database {db}. Name it with --db.")
    is_trusted_now = not read_only and allow_database(db, writes=True, only_product_runs=True)
    with SQLiteStore(db, read_only=read_only) as store:
        if is_trusted_now:
            remember_database(store)  # it may have got its id now
        yield store


@contextlib.contextmanager
def open_run_database(db: str, run_id: str, verb: str, *, read_only: bool = True) -> Iterator[SQLiteStore]:
    """Open the database of an existing run."""
    with open_database(db, f"{verb} {run_id!r}", read_only=read_only) as store:
        read_run(store.reader, run_id, verb)
        yield store


def require_database(db: str, run_id: str, verb: str) -> None:
    """Raise `UnknownRun` if the database does not exist, so that it is not created."""
    if not database_exists(db):
        raise UnknownRun(f"cannot {verb} {run_id!r}: there is no database {db}. Name it with --db.", run_id=run_id)


def db_suffix(db: str) -> str:
    """Return the `--db` option for a command in a hint; empty for the default database."""
    return "" if db == DEFAULT_DB else f" --db {shlex.quote(db)}"


def resume_hint(store: SQLiteStore, run_id: str, db: str, *, module: str | None = None) -> str:
    """Return the command that resumes a run, by default with the module that drove it last."""
    from loom_runner._queries.hints import module_of

    named = module or module_of(store.reader, run_id) or "MODULE"
    return f"loom-runner resume {shlex.quote(named)} --run-id {shlex.quote(run_id)}{db_suffix(db)}"


def parse_json(text: str, option: str) -> Any:
    """Parse the JSON of an option."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise UsageError(
            f"cannot read {option}: {shorten(text, 60)!r} is not JSON ({exc}). Quote it for the shell."
        ) from exc


def local_time(at: str | None) -> str:
    """Format a time (ISO 8601) as local time; None as an empty text."""
    from datetime import datetime

    return "" if at is None else f"{datetime.fromisoformat(at).astimezone():%Y-%m-%d %H:%M:%S}"


def json_text(value: Any) -> str:
    """Format a JSON value for people."""
    return json.dumps(value, ensure_ascii=False)
