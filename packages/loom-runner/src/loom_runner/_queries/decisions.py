"""What people decided about approval requests, as text for traces, `explain` and `history`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loom_runner._model.formatting import one_line, shorten
from loom_runner.run_ids import call_id, request_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loom_runner._model.approvals import ApprovalRecord
    from loom_runner._model.records import ToolRecord

__all__ = ["decision_texts", "is_about_call", "request_text", "requests_of_wait"]

_PAST: Final = {"approve": "approved", "deny": "denied", "edit": "approved with other arguments"}


def request_text(request: ApprovalRecord) -> str:
    """Return what a request asks for: its id, tool and arguments."""
    return f"{request_id(request.run_id, request.number)} {request.name} {shorten(one_line(request.arguments), 80)}"


def decision_texts(request: ApprovalRecord) -> list[str]:
    """Return one line for each decision about a request, or one that says that there is none."""
    name = f"{request_id(request.run_id, request.number)} {request.name}"
    lines = []
    for each in request.decisions:
        via = f" via {each.via}" if each.via else ""
        note = f": {one_line(each.note)}" if each.note else ""
        lines.append(f"{name} {_PAST[each.how]} by {each.by}{via}{note}")
    if not lines and request.status == "expired":
        lines.append(f"{name} expired without a decision")
    return lines


def requests_of_wait(requests: Sequence[ApprovalRecord], step_index: int, started_at: int) -> list[ApprovalRecord]:
    """Return the requests that were open when a wait in a step began: requested before, and not
    decided before.
    """
    return [
        request
        for request in requests
        if request.step_index == step_index
        and request.requested_at <= started_at
        and (
            request.status == "pending"
            or max((each.at for each in request.decisions), default=started_at) >= started_at
        )
    ]


def is_about_call(note: str | None, call: ToolRecord) -> bool:
    """Return whether the note of a lease that ended with a wait names a call in doubt."""
    about = f"a decision about {call_id(call.run_id, call.number)}"
    return note is not None and (note == about or note.startswith(f"{about} and "))
