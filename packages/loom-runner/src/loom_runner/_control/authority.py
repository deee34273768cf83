"""The product that decides about requests with its policy, and what it adds to a decision."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from loom_runner._model.clock import to_iso
from loom_runner.errors import UsageError
from loom_runner.run_ids import root_run_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from loom_runner._model.approvals import ApprovalRecord, Decision, Sign

__all__ = ["Authority", "also_of", "refuse_without_product", "sign_of"]


@dataclass(frozen=True, slots=True)
class Authority:
    """A product that has bound its policy to a request (`Ask.policy["product"]`), and checked it.

    Args:
        product: Its command, for instance `loom-ops`.
        record: Called in the transaction of a decision, with the connection and the request after
            it, as `Runs.approvals` shows it; for instance to append to an audit trail.
        sign: Returns the signature of a decision, for its `signed_parts`.
    """

    product: str
    record: Callable[[Any, Mapping[str, Any]], object] | None = None
    sign: Callable[[Mapping[str, Any]], str] | None = None

    @staticmethod
    def signed_parts(run_id: str, number: int, decision: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a signature covers: the request, and who decided what, when and how.

        Args:
            decision: A decision as `Runs.approvals` shows it.
        """
        return {"run_id": run_id, "number": number, **{name: decision[name] for name in ("by", "how", "at", "of")}}


def also_of(authority: Authority | None, after: ApprovalRecord) -> Callable[[Any], object] | None:
    """Return what is done in the transaction of a decision."""
    record = None if authority is None else authority.record
    return None if record is None else lambda connection: record(connection, after.as_json())


def sign_of(authority: Authority | None, request: ApprovalRecord) -> Sign | None:
    """Return the function that signs a decision about a request."""
    sign = None if authority is None else authority.sign
    if sign is None:
        return None

    def signed(decision: Decision) -> str:
        shown = asdict(decision) | {"at": to_iso(decision.at)}
        return sign(Authority.signed_parts(request.run_id, request.number, shown))

    return signed


def refuse_without_product(request: ApprovalRecord, what: str, authority: Authority | None, database: str) -> None:
    """Refuse to decide about a request that carries the policy of a product.

    Raises:
        UsageError: The message begins with `what` and names the command of the product.
    """
    product = request.product
    if product is None or (authority is not None and authority.product == product):
        return
    words = (product, "approvals", "--run-id", root_run_id(request.run_id), "--db", database)
    raise UsageError(
        f"{what}: it has a policy of {product}, and only {product} may decide about it. See {shlex.join(words)}",
        run_id=request.run_id,
    )
