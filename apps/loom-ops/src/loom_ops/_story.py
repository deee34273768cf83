"""What happened to an incident, in lines for a person: asked, found, approved by whom and why, done, taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loom_ops._audited import facts_of
from loom_ops._rules import shown_argv

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loom_runner import AgentRunner

    from loom_ops._audit import Fact

__all__ = ["story_lines"]

_SAID = {"approve": "approved", "deny": "denied", "edit": "approved with changes"}


def story_lines(rows: AgentRunner, run_id: str) -> Iterator[str]:
    """Yield a line for each thing that happened, in the order of time."""
    for fact in sorted(facts_of(rows, run_id), key=lambda fact: fact.at):
        told = _told(fact, fact.content)
        if told is not None:
            yield f"  {fact.at[11:19]}  {told}"


def _told(fact: Fact, content: Any) -> str | None:
    what = shown_argv(content["argv"]) if content.get("argv") else content.get("step") or "a step by hand"
    match fact.kind:
        case "run.asked":
            return f"{fact.actor} asked: {content['incident']}  ({content['runbook']})"
        case "approval.asked":
            return f"waits for approval: {what}, {content['reason']}"
        case "approval.decided":
            note = f", {content['note']!r}" if content["note"] else ""
            return f"{_SAID[content['how']]} by {fact.actor} ({content['via']}){note}: {what}"
        case "approval.expired":
            return f"nobody decided in time: {what}"
        case "command.in_doubt":
            return f"interrupted, nobody knows whether it was done: {what}"
        case "command.ended" | "look.ended" | "by hand.ended" | "check.ended":
            who = f" (said {content['decided_by']})" if "decided_by" in content else ""
            name = "" if content.get("argv") else f"{what}: "
            return f"{'ok    ' if content['ok'] else 'NOT ok'}  {name}{content['text']}{who}"
        case "run.ended":
            came_to = content.get("outcome") or ", ".join(content.get("steps") or ()) or content["status"]
            return f"{fact.actor} ended: {came_to}"
    return None  # that a command has started shows in how it ended
