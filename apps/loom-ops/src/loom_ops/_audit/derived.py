"""A fact that is derived from a row, with the form in which version 1 of the trail recorded it.

Version 1 gave the end of a call the time of its start, and called a request `approval.asked` and an
edit `approval.decided`. Entries in this form still verify.
"""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from loom_ops._audit.chain import AuditFact

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["differences", "fact_of", "hash_of", "with_earlier"]

_ADDED: Final = frozenset(
    {
        "try",
        "input_sha256",
        "policy_sha256",
        "arguments_sha256",
        "result_sha256",
        "request_step",
        "members",
        "requester",
        "of",
        "signature",
        "instead_of",
    }
)
"""Members of a content that version 1 did not write."""


def fact_of(source: str, run: tuple[str, str], kind: str, actor: str, content: Mapping[str, Any]) -> AuditFact:
    """Return a fact, with its earlier form.

    Args:
        run: The id of the run, and when it happened.
    """
    run_id, at = run
    earlier = {name: value for name, value in content.items() if name not in _ADDED}
    return AuditFact(source, run_id, at, kind, actor, content, AuditFact(source, run_id, at, kind, actor, earlier))


def with_earlier(fact: AuditFact, *, at: str | None = None, kind: str | None = None) -> AuditFact:
    """Return a fact whose earlier form had another time, or kind."""
    earlier = fact.earlier or fact
    return replace(fact, earlier=replace(earlier, at=at or earlier.at, kind=kind or earlier.kind))


def hash_of(value: object) -> str:
    return sha256(json.dumps(value, ensure_ascii=False, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()


def differences(content: str, fact: AuditFact, request: Mapping[str, Any] | None = None) -> list[str]:
    """Return the names of the members in which a recorded content differs from a fact.

    Args:
        request: The request that the fact is about. A later edit or repetition has replaced some of
            its members.
    """
    try:
        recorded = json.loads(content)
    except (ValueError, RecursionError):
        return ["content"]
    if not isinstance(recorded, dict):
        return ["content"]
    replaced: set[str] = set()
    if request is not None:
        later = [decision["how"] for decision in request["decisions"]]
        if "edit" in later and "/decided/" in fact.source:
            number = int(fact.source.rpartition("/")[2])
            is_replaced = "edit" in later[:number] and "edit" in later[number:]
            replaced |= {"argv", "arguments_sha256", "instead_of"} if is_replaced else set()
        if "retry" in later and fact.kind == "approval.requested":
            replaced.add("until")
    expected = json.loads(json.dumps(dict(fact.content)))
    names = (recorded.keys() | expected.keys()) - replaced
    missing = object()
    return sorted(name for name in names if recorded.get(name, missing) != expected.get(name, missing))
