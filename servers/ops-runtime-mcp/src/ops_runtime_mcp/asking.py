"""Ask the client's user to approve a step, where the client can and the policy lets that person.

The answer is a decision like one on the command line: who decides is the person whom the interface
has proven (the user of this process, or the token's subject), never something the client states,
and the policy that is bound to the request is checked when the decision is written. What travels
through the client is sealed by the library, and only says which request was shown.

Clients of protocol 2026-07-28 get an `InputRequiredResult` and repeat the call with the answer;
earlier ones are asked during the call.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from ops_runtime_mcp.texts import approval_question

if TYPE_CHECKING:
    from loom_ops.api import PendingApproval
    from mcp.server.mcpserver import Context
    from mcp.types import InputRequiredResult

__all__ = ["Answer", "answer_of", "can_ask", "question"]

_KEY: Final = "approval"
_REPEATS_CALLS: Final = "2026-07-28"
_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "decision": {
            "type": "string",
            "enum": ["approve", "deny", "later"],
            "description": "approve runs exactly this; deny starts nothing; later leaves it pending",
        },
        "note": {"type": "string", "description": "the reason, for the audit trail"},
    },
    "required": ["decision"],
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client's user answered.

    Args:
        run_id, number, hash: The request that was shown.
        decision: `later` when the user did not decide.
    """

    run_id: str
    number: int
    hash: str
    decision: Literal["approve", "deny", "later"]
    note: str


def can_ask(context: Context[Any, Any]) -> bool:
    """Return whether the client has declared that it can ask its user with a form."""
    capabilities = context.client_capabilities
    asks = None if capabilities is None else capabilities.elicitation
    return asks is not None and (asks.form is not None or asks.url is None)


def answer_of(context: Context[Any, Any]) -> Answer | None:
    """Return the answer that the client sends with a repeated call; None in the first call."""
    from mcp.types import ElicitResult

    given = (context.input_responses or {}).get(_KEY)
    if context.request_state is None or not isinstance(given, ElicitResult):
        return None
    shown = json.loads(context.request_state)
    return _answer(shown["run_id"], shown["number"], shown["hash"], given)


async def question(context: Context[Any, Any], approval: PendingApproval) -> InputRequiredResult | Answer:
    """Ask: return the result that makes the client ask, or the answer of an earlier client."""
    from mcp.types import ElicitRequest, ElicitRequestFormParams, InputRequiredResult
    from mcp_types.version import is_version_at_least

    text = approval_question(approval)
    if is_version_at_least(context.protocol_version or "", _REPEATS_CALLS):
        shown = {"run_id": approval.run_id, "number": approval.number, "hash": approval.hash}
        request = ElicitRequest(params=ElicitRequestFormParams(message=text, requested_schema=_SCHEMA))
        return InputRequiredResult(input_requests={_KEY: request}, request_state=json.dumps(shown))
    given = await context.session.elicit_form(text, _SCHEMA, related_request_id=context.request_id)
    return _answer(approval.run_id, approval.number, approval.hash, given)


def _answer(run_id: str, number: int, digest: str, given: Any) -> Answer:
    content = given.content or {}
    decision = content.get("decision") if given.action == "accept" else None
    note = content.get("note")
    return Answer(
        run_id,
        number,
        digest,
        decision if decision in ("approve", "deny") else "later",
        note if isinstance(note, str) else "",
    )
