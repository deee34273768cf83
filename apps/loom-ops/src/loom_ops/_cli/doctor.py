"""`loom-ops doctor`: check whether a site is ready; one line for each item."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from loom_agents.process import can_leave_network
from loom_runner import Runs
from loom_runner.cli_base import database_exists
from loom_runner.errors import StoreError

from loom_ops._approvals.people import local_person
from loom_ops._approvals.signatures import unsigned_decisions
from loom_ops._audit.private_keys import load_private_key, private_key_file
from loom_ops._audit.public_keys import public_text
from loom_ops._audit.trail import open_trail
from loom_ops._audit.trusted_keys import read_trusted_keys
from loom_ops._audit.verify import verify_trail
from loom_ops._cli.options import must_only_read
from loom_ops._commands.rules_file import load_rules
from loom_ops._errors import LOOM_OPS, LoomOpsError
from loom_ops._runbook.catalog import known_runbooks
from loom_ops._runbook.lint import lint
from loom_ops._runbook.model import STARTER_PREFIX
from loom_ops._runbook.parse import parse_runbook

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loom_ops._site import Site

__all__ = ["findings"]


def findings(site: Site, database: Path) -> Iterator[tuple[str, bool, str]]:
    """Yield each item that was checked, whether it is ready, and what was found."""
    groups = ", ".join(site.groups) or "none; operators is the owner of the database"
    settings = "loom-ops.toml" if site.is_written else "none, the defaults are used"
    yield "settings", True, f"{settings}; groups: {groups}"
    yield "you", True, f"{local_person(site)} (user of the operating system)"
    try:
        rules = load_rules(site.rules)
        yield "rules", True, f"{len(rules.rules)} in {rules.source}"
        if not all(rule.network for rule in rules.rules) and not can_leave_network():
            yield "network", False, "this platform does not let a command run without the network"
    except LoomOpsError as exc:
        rules = None
        yield "rules", False, str(exc)
    for source, text in known_runbooks(site):
        runbook, problems = parse_runbook(text, source)
        is_starter = source.startswith(STARTER_PREFIX)
        if runbook is not None:
            problems = [*problems, *lint(runbook, None if is_starter else rules)]
        errors = [problem for problem in problems if problem.severity == "error"]
        yield "runbook", not errors, f"{source}: {errors[0].text if errors else 'ok'}"
    if site.sign == "required":
        yield "keys", *_own_key(site)
    try:
        if not database_exists(database):
            yield "database", True, f"{database} does not exist yet"
            return
        yield _audit(site, str(database))
    except (LoomOpsError, StoreError) as exc:
        yield "audit", False, str(exc)


def _own_key(site: Site) -> tuple[bool, str]:
    """Return whether the site trusts the key of this user, and what was found."""
    person = local_person(site).name
    try:
        public = public_text(load_private_key(private_key_file()).public_key())
        key = read_trusted_keys(site.folder).find(person, public)
    except LoomOpsError as exc:
        return False, str(exc)
    if key is None or key.revoked is not None:
        return (
            False,
            f"decisions are signed, and the site does not trust your key: loom-ops keys trust {person} {public}",
        )
    return True, f"decisions are signed; the site trusts your key as that of {person}"


def _audit(site: Site, db: str) -> tuple[str, bool, str]:
    read_only = must_only_read(db)
    check = functools.partial(unsigned_decisions, site)
    with LOOM_OPS.open_database(db, read_only=read_only) as store, open_trail(db, read_only=read_only) as trail:
        found = verify_trail(trail, Runs(store), check_decisions=check)
    if not found.findings:
        return "audit", True, "the trail is as the rows say"
    more = f" ({len(found.findings) - 1} more: loom-ops audit verify)" if len(found.findings) > 1 else ""
    return "audit", False, f"{found.findings[0]}{more}"
