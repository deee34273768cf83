"""The commands about what stays: the audit trail and the memory."""

from pathlib import Path
from typing import Any

import click
from loom_runner.cli_base import (
    ExitCode,
    Output,
    choose_output,
    output_option,
    plural,
    write_error,
    write_json,
    write_line,
    write_rows,
)

from loom_ops._errors import LoomOpsError
from loom_ops._options import db_option, must_exist


@click.group()
def audit() -> None:
    """The trail of what was asked, decided and done."""


@audit.command()
@click.option(
    "--head", metavar="NUMBER:HASH", help="What was printed at the end of a run; shows a tail that was cut off."
)
@click.option("--signed", type=click.Path(path_type=Path), metavar="FILE", help="A signed head instead of --head.")
@click.option("--public-key", type=click.Path(path_type=Path), metavar="PEM", help="Whose signature it has to be.")
@db_option
def verify(*, head: str | None, signed: Path | None, public_key: Path | None, db: str) -> int:
    """Walk the chain and name every entry that is not what was written. Exit code 1 when one is."""
    from loom_ops._audit import AuditHead

    if (signed is None) != (public_key is None) or (signed is not None and head is not None):
        raise click.UsageError("give --head, or --signed with --public-key")
    wanted = None if head is None else AuditHead.read(head)
    if signed is not None and public_key is not None:
        wanted = _signing().verified_head(signed, public_key)
    with _trail(db) as trail:
        breaks, now = trail.verify(wanted), trail.head()
    for found in breaks:
        write_line(found.text)
    if breaks:
        write_error(f"{plural(len(breaks), 'break')} in the audit trail of {db}")
        return ExitCode.FAILED
    write_line(f"ok  entries: {now.number if now else 0}, head {now or 'none'}")
    if wanted is None:
        write_error("Entries that were cut off at the end show only with --head, as it was printed.")
    return ExitCode.DONE


@audit.command()
@click.option("--run-id", "-r", metavar="ID", help="Only this run and its team.")
@db_option
def export(*, run_id: str | None, db: str) -> None:
    """Write the entries as JSON lines."""
    with _trail(db) as trail:
        for entry in trail.entries(run_id):
            write_json(entry.as_json(), "jsonl")


@audit.command()
@click.option("--sign", type=click.Path(path_type=Path), metavar="PEM", help="Sign it with this Ed25519 key.")
@db_option
def head(*, sign: Path | None, db: str) -> None:
    """Print number and hash of the newest entry; keep it elsewhere."""
    with _trail(db) as trail:
        newest = trail.head()
    if sign is not None and newest is not None:
        write_line(_signing().sign_head(newest, sign))
    else:
        write_line(str(newest or "none"))


def _signing() -> Any:
    from importlib.util import find_spec

    if find_spec("cryptography") is None:
        raise LoomOpsError("cannot sign or verify: 'cryptography' is not installed. Install loom-ops[sign].")
    from loom_ops import _signing as signing

    return signing


def _trail(db: str) -> Any:
    from contextlib import closing

    from loom_ops._audit import AuditTrail

    must_exist(db)
    return closing(AuditTrail(Path(db)))


@click.group()
def memory() -> None:
    """What earlier runs have found out."""


@memory.command(name="list")
@click.option("--all", "every", is_flag=True, help="Also what was superseded or has expired.")
@db_option
@output_option
def list_(*, every: bool, db: str, output: Output | None) -> None:
    """List facts."""
    from loom_ops._memory import Memory
    from loom_ops._team import now_iso

    must_exist(db)
    known = Memory(Path(db))
    found = known.facts(now_iso(), with_old=every)
    known.close()
    columns = {
        "FACT": lambda row: str(row["number"]),
        "KIND": lambda row: row["kind"],
        "LEARNED": lambda row: row["learned_at"][:10],
        "TEXT": lambda row: row["text"],
    }
    write_rows([fact.as_json() for fact in found], columns, choose_output(output), empty="nothing is known")


@memory.command()
@click.argument("number", type=int)
@db_option
def forget(*, number: int, db: str) -> None:
    """Remove a fact."""
    from loom_ops._memory import Memory

    must_exist(db)
    known = Memory(Path(db))
    was_there = known.forget(number)
    known.close()
    if not was_there:
        raise LoomOpsError(f"cannot forget fact {number}: there is none. See loom-ops memory list.")


KEPT_COMMANDS = (audit, memory)
