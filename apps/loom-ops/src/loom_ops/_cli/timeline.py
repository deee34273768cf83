"""The events of an incident, one line each, in the order of time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from loom_ops._audit.facts import audit_facts
from loom_ops._commands.allow_rules import argv_text
from loom_ops._team.outcomes import outcome_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loom_runner import Runs

    from loom_ops._audit.chain import AuditFact

__all__ = ["timeline_lines"]

_DECISIONS: Final = {"approve": "approved", "deny": "denied", "edit": "edited"}


def timeline_lines(runs: Runs, run_id: str) -> Iterator[str]:
    """Yield a line for each request, decision, finding and action."""
    for fact in sorted(audit_facts(runs, run_id), key=lambda fact: fact.at):
        text = _text(fact, fact.content)
        if text is not None:
            yield f"  {fact.at[11:19]}  {text}"


def _text(fact: AuditFact, content: Any) -> str | None:
    what = argv_text(content["argv"]) if content.get("argv") else content.get("step") or "a step by hand"
    match fact.kind:
        case "run.asked":
            return f"{fact.actor} requested: {content['incident']}  ({content['runbook']})"
        case "approval.requested":
            return f"waits for approval: {what}, {content['reason']}"
        case "approval.decided" | "approval.edited":
            note = f", {content['note']!r}" if content["note"] else ""
            if content.get("instead_of"):
                what += f" instead of {argv_text(content['instead_of'])}"
            return f"{_DECISIONS[content['how']]} by {fact.actor} ({content['via']}){note}: {what}"
        case "approval.expired":
            return f"expired without a decision: {what}"
        case "command.in_doubt":
            return f"in doubt, interrupted before its end was recorded: {what}"
        case "command.ended" | "look.ended" | "by hand.ended" | "check.ended":
            who = f" (resolved by {content['decided_by']})" if "decided_by" in content else ""
            name = "" if content.get("argv") else f"{what}: "
            return f"{'ok    ' if content['ok'] else 'NOT ok'}  {name}{content['text']}{who}"
        case "run.ended":
            steps = ", ".join(content.get("steps") or ())
            outcome = outcome_text(content["outcome"]) if content.get("outcome") else steps
            return f"{fact.actor} ended: {outcome or content['status']}"
    return None  # the start of a command, whose end is shown; the use of an approval
