"""`loom-ops doctor`: whether a site is ready, one line for each thing that has to be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loom_ops._audit import AuditTrail
from loom_ops._choose import known_runbooks
from loom_ops._errors import LoomOpsError
from loom_ops._lint import lint
from loom_ops._parse import parse_runbook
from loom_ops._people import local_person
from loom_ops._rules import load_rules

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loom_ops._site import Site

__all__ = ["findings"]


def findings(site: Site, database: Path) -> Iterator[tuple[str, bool, str]]:
    """Yield what was looked at, whether it is well, and what was seen."""
    groups = ", ".join(site.groups) or "none; operators is whoever owns the database"
    yield "settings", True, f"{'loom-ops.toml' if site.is_written else 'none, the defaults hold'}; groups: {groups}"
    yield "you", True, f"{local_person()} (user of the operating system)"
    try:
        rules = load_rules(site.rules)
        yield "rules", True, f"{len(rules.rules)} in {rules.source}"
    except LoomOpsError as exc:
        rules = None
        yield "rules", False, str(exc)
    for source, text in known_runbooks(site):
        runbook, problems = parse_runbook(text, source)
        is_starter = source.startswith("starter:")
        if runbook is not None:
            problems = [*problems, *lint(runbook, None if is_starter else rules)]
        errors = [problem for problem in problems if problem.severity == "error"]
        yield "runbook", not errors, f"{source}: {errors[0].text if errors else 'ok'}"
    if not database.exists():
        yield "database", True, f"{database} is not there yet"
        return
    try:
        trail = AuditTrail(database)
        breaks = trail.verify()
        trail.close()
    except LoomOpsError as exc:
        yield "audit", False, str(exc)
    else:
        yield "audit", not breaks, breaks[0].text if breaks else "the chain holds"
