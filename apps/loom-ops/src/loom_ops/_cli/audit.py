"""The commands for the audit trail."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from loom_runner.cli_base import ExitCode, allow_database, plural, write_error, write_json, write_line

from loom_ops._cli.options import config_option, db_option, load_settings, must_only_read
from loom_ops._errors import LOOM_OPS

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from types import ModuleType

    from loom_ops._audit.trail import AuditTrail

__all__ = ["audit"]

MAX_FINDINGS: Final = 20


@click.group()
def audit() -> None:
    """Verify, export and sign the audit trail.

    The trail records what was requested, decided and done.
    """


@audit.command()
@click.option("--head", metavar="NUMBER:HASH", help="A head that was printed earlier; it shows removed entries.")
@click.option(
    "--signed", type=click.Path(path_type=Path), metavar="FILE", help="A file with a signed head, instead of --head."
)
@click.option("--public-key", type=click.Path(path_type=Path), metavar="PEM", help="The public key of the signature.")
@db_option
@config_option
def verify(*, head: str | None, signed: Path | None, public_key: Path | None, db: str, config: Path | None) -> int:
    """Verify the trail.

    The chain of entries, the heads kept in DB.audit-heads, and the rows that the entries speak of
    are compared, and the signatures of decisions are verified. Everything that was changed, removed
    or added is named, and the exit code is 1 when there is something.
    """
    from loom_runner import Runs

    from loom_ops._approvals.signatures import unsigned_decisions
    from loom_ops._audit.chain import AuditHead
    from loom_ops._audit.trail import open_trail
    from loom_ops._audit.verify import verify_trail

    if (signed is None) != (public_key is None) or (signed is not None and head is not None):
        raise click.UsageError("give --head, or --signed with --public-key")
    heads = () if head is None else (AuditHead.parse(head),)
    if signed is not None and public_key is not None:
        heads = (_signing().verified_head(signed, public_key),)
    site = load_settings(config)
    read_only = must_only_read(db)
    with LOOM_OPS.open_database(db, read_only=read_only) as store, open_trail(db, read_only=read_only) as trail:
        found = verify_trail(trail, Runs(store), *heads, check_decisions=functools.partial(unsigned_decisions, site))
    for text in found.findings[:MAX_FINDINGS]:
        write_line(text)
    if len(found.findings) > MAX_FINDINGS:
        write_line(f"... and {len(found.findings) - MAX_FINDINGS} more")
    for text in found.notes[:MAX_FINDINGS]:
        write_error(f"note: {text}")
    if len(found.notes) > MAX_FINDINGS:
        write_error(f"note: ... and {len(found.notes) - MAX_FINDINGS} more")
    if found.findings:
        write_error(f"{plural(len(found.findings), 'break')} in the audit trail of {db}")
        return ExitCode.FAILED
    write_line(f"ok  entries: {found.head.number if found.head else 0}, head {found.head or 'none'}")
    return ExitCode.DONE


@audit.command()
@click.option("--run-id", "-r", metavar="ID", help="Export only the entries of this run and its team.")
@db_option
def export(*, run_id: str | None, db: str) -> None:
    """Write the entries as JSON lines."""
    with _trail(db) as trail:
        for entry in trail.entries(run_id):
            write_json(entry.as_json(), "jsonl")


@audit.command()
@click.option("--sign", type=click.Path(path_type=Path), metavar="PEM", help="Sign the head with this Ed25519 key.")
@db_option
def head(*, sign: Path | None, db: str) -> None:
    """Print the number and hash of the newest entry; keep them elsewhere."""
    with _trail(db) as trail:
        newest = trail.head()
    if sign is not None and newest is not None:
        write_line(_signing().sign_head(newest, sign))
    else:
        write_line(str(newest or "none"))


def _signing() -> ModuleType:
    from loom_ops._audit.public_keys import require_cryptography

    require_cryptography()
    from loom_ops._audit import signing

    return signing


def _trail(db: str) -> AbstractContextManager[AuditTrail]:
    from loom_ops._audit.trail import open_trail

    LOOM_OPS.require_database(db)
    allow_database(db, writes=False)
    return open_trail(db, read_only=must_only_read(db))
