"""Whether a service is healthy: the checks that runbooks and settings define for it.

The checks of a service are those of the runbooks that the settings list for it
(`[services.NAME]`). A service that the settings do not describe has the checks of the runbook of
its name, and of each runbook with an input `service` that takes its name. Only runbooks that
clients may start count. Checks read; a command is started only when an allow rule permits it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from loom_ops._checks.run import run_check
from loom_ops._commands.context import ExecutionContext
from loom_ops._commands.rules_file import load_rules
from loom_ops._commands.secrets import Vault
from loom_ops._errors import LoomOpsError, RulesError
from loom_ops._incidents.results import CheckFinding, Health
from loom_ops._runbook.catalog import served_runbooks
from loom_ops._runbook.destinations import with_destinations
from loom_ops._runbook.inputs import accepts, input_values
from loom_ops._runbook.model import Check
from loom_ops._runbook.parse import parse_runbook, require_runbook
from loom_ops._runbook.render import render_step
from loom_ops._runbook.template import slots_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from loom_ops._checks.run import CheckVerdict
    from loom_ops._runbook.model import Input, Runbook
    from loom_ops._site import Service, Site

__all__ = ["check_health", "known_services"]

_INPUT: Final = "service"
_ALTERNATIVES: Final = re.compile(r"\(?[\w.-]+(\|[\w.-]+)*\)?")


@dataclass(frozen=True, slots=True)
class _Planned:
    """A check to run, with its inputs filled in."""

    runbook: Runbook
    check: Check


async def check_health(site: Site, service: str, report: Callable[[int, int, str], None] | None = None) -> Health:
    """Run the checks of a service.

    Args:
        report: Called before each check with its index, the number of checks and its name.

    Raises:
        LoomOpsError: No runbook or setting says how to check this service; the known ones are
            named.
    """
    planned, skipped = _planned(site, service)
    try:
        rules, why_off = load_rules(site.rules), ""
    except RulesError as exc:
        rules, why_off = None, str(exc)
    findings = []
    for index, each in enumerate(planned):
        if report is not None:
            report(index, len(planned), f"{each.runbook.name}: {each.check.id}")
        vault = Vault(with_destinations(each.runbook), site.folder)
        result = await run_check(
            each.check, ExecutionContext(site.folder, rules, vault, why_off=why_off, mcp_file=site.mcp_file)
        )
        findings.append(
            CheckFinding(
                result.id,
                each.runbook.name,
                result.verdict,
                result.value,
                result.expect or "",
                result.evidence,
                result.duration_ms,
            )
        )
    return Health(service, _verdict(findings), findings, skipped)


def known_services(site: Site) -> list[str]:
    """Return the services that can be named: those of the settings, the values that an input
    `service` lists, and the runbooks with checks.
    """
    names = dict.fromkeys(site.services)
    for source, text in served_runbooks(site).values():
        runbook, _ = parse_runbook(text, source)
        if runbook is not None and _checks(runbook):
            declared = runbook.inputs.get(_INPUT)
            names |= dict.fromkeys([runbook.name] if declared is None else _listed(declared))
    return list(names)


def _planned(site: Site, service: str) -> tuple[list[_Planned], list[str]]:
    """Return the checks of a service, each once, and why others are not run."""
    described, served = site.services.get(service), served_runbooks(site)
    listed = None if described is None else described.runbooks
    planned: dict[str, _Planned] = {}
    skipped = []
    for name in served if listed is None else listed:
        if name not in served:
            skipped.append(f"{name}: there is no such runbook, or clients may not start it")
            continue
        try:
            runbook = require_runbook(served[name][1], served[name][0])
            if listed is None and not _is_about(runbook, service):
                continue
            values = _values(runbook, service, described)
        except LoomOpsError as exc:
            skipped.append(f"{name}: {exc}")
            continue
        for check in _checks(runbook):
            rendered = render_step(check, values)
            assert isinstance(rendered, Check)
            same = json.dumps([rendered.kind, rendered.options, rendered.expect], sort_keys=True, default=str)
            planned.setdefault(same, _Planned(runbook, rendered))
    if described is None and not planned and not skipped:
        known = ", ".join(known_services(site)) or "none"
        raise LoomOpsError(
            f"cannot check {service!r:.80}: no runbook of this site has checks for it. Known: {known}. "
            "Describe another one under [services.NAME] in loom-ops.toml."
        )
    return list(planned.values()), skipped


def _is_about(runbook: Runbook, service: str) -> bool:
    """Return whether the checks of a runbook are about a service: it has its name, or it lists the
    service, or its checks measure whichever service is given.
    """
    declared = runbook.inputs.get(_INPUT)
    if declared is None or not _checks(runbook):
        return declared is None and runbook.name == service
    measures_any = any(_INPUT in slots_in([dict(check.options), check.expect]) for check in _checks(runbook))
    return service in _listed(declared) or (measures_any and accepts(declared, service))


def _values(runbook: Runbook, service: str, described: Service | None) -> dict[str, str]:
    given = {} if described is None else {k: v for k, v in described.inputs.items() if k in runbook.inputs}
    if _INPUT in runbook.inputs:
        given.setdefault(_INPUT, service)
    return input_values(runbook, given)


def _listed(declared: Input) -> list[str]:
    """Return the values that an input names itself: a list, a default, a pattern such as
    `api|web`.
    """
    pattern = "" if declared.pattern is None else declared.pattern.pattern
    words = _ALTERNATIVES.fullmatch(pattern)
    return [
        *declared.enum,
        *(pattern.strip("()").split("|") if words else ()),
        *(() if declared.default is None else (declared.default,)),
    ]


def _checks(runbook: Runbook) -> list[Check]:
    return [step for step in runbook.steps if isinstance(step, Check)]


def _verdict(findings: list[CheckFinding]) -> CheckVerdict:
    verdicts = {each.verdict for each in findings}
    if "unhealthy" in verdicts:
        return "unhealthy"
    return "healthy" if verdicts == {"healthy"} else "cannot_tell"
