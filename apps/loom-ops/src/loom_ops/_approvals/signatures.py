"""Signed decisions: `[approvals] sign` of the settings, bound to each request as `sign`.

| sign | a decision |
|---|---|
| `off` | is not signed (the default) |
| `optional` | is signed when its person has a key; a signature that is there must verify |
| `required` | counts only with the signature of its person |

A signature is made where the person's private key is: on the command line. The other interfaces
refuse to approve and name the command. A denial starts nothing and needs no signature.

It is verified when the person decides, again when the decision is used, and by `audit verify`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from loom_agents.cli import request_name
from loom_runner.run_ids import root_run_id

from loom_ops._audit.decision_signatures import check_signature, sign_decision
from loom_ops._audit.private_keys import load_private_key, private_key_file
from loom_ops._audit.trusted_keys import read_trusted_keys
from loom_ops._errors import AuditError, LoomOpsError
from loom_ops._runs import is_run_of_loom_ops

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from loom_runner import Runs

    from loom_ops._site import Site

__all__ = ["decision_signer", "objection_to_signature", "sign_with_own_key", "unsigned_decisions"]

_UNSIGNED: Final = ("deny",)


def sign_with_own_key(parts: Mapping[str, Any]) -> str:
    """Sign a decision with the key of the user of this process.

    Args:
        parts: What the signature covers, see `loom_runner.authority.Authority`.

    Raises:
        AuditError: There is no key, or it cannot be used.
    """
    return sign_decision(load_private_key(private_key_file()), **_named(parts))


def decision_signer(
    request: Mapping[str, Any], verdict: str, sign: Callable[[Mapping[str, Any]], str] | None, site: Site
) -> Callable[[Mapping[str, Any]], str] | None:
    """Return the function that signs a decision about a request; None when it is not signed.

    Args:
        sign: The signer of the interface; None when it has no private key.

    Raises:
        LoomOpsError: It must be signed, which this interface cannot.
    """
    mode = request["policy"].get("sign", "off")
    if mode == "off":
        return None
    if sign is None:
        if mode != "required" or verdict in _UNSIGNED:
            return None
        verb = "resolve" if verdict == "resolve" else "approve"
        command = f"loom-ops {verb} --run-id {root_run_id(request['run_id'])}"
        raise LoomOpsError(
            f"cannot {verdict} {request_name(request)} here: its policy requires a signature, which needs your private "
            f"key. Do it on the command line: {command}",
            run_id=request["run_id"],
        )
    own = sign

    def signed(parts: Mapping[str, Any]) -> str:
        must_sign = mode == "required" and verdict not in _UNSIGNED
        try:
            signature = own(parts)
            why = check_signature(read_trusted_keys(site.folder), signature, **_named(parts))
            if why is not None:
                what = f"cannot {verdict} {request_name(request)}"
                raise AuditError(f"{what}: {why}. Let the site trust your key: loom-ops keys trust.")
        except AuditError:
            if must_sign:
                raise
            return ""
        return signature

    return signed


def objection_to_signature(
    site: Site, request: Mapping[str, Any], decision: Mapping[str, Any], *, at_use: bool = True
) -> str | None:
    """Return what is wrong with the signature of a decision; None when it is as its policy
    requires.

    Args:
        at_use: The decision is about to be used. The present settings count, too, and a key that
            was revoked since does not.
    """
    mode = request["policy"].get("sign", "off")
    if at_use and site.sign == "required" and mode != "required":
        return "the settings require signatures, and its policy does not"
    signature = decision.get("signature") or ""
    if mode not in ("required", "optional") or (not signature and (mode == "optional" or decision["how"] in _UNSIGNED)):
        return None
    parts = {"run_id": request["run_id"], "number": request["number"], **decision}
    return check_signature(read_trusted_keys(site.folder), signature, **_named(parts), at_use=at_use)


def unsigned_decisions(site: Site, runs: Runs) -> list[str]:
    """Return what is wrong with the signatures of all decisions of the database."""
    found = []
    programs: dict[str, bool] = {}
    for request in runs.approvals():
        run_id = request["run_id"]
        if run_id not in programs:
            programs[run_id] = is_run_of_loom_ops(runs.get(run_id))
        for decision in request["decisions"] if programs[run_id] else ():
            why = objection_to_signature(site, request, decision, at_use=False)
            if why is not None:
                found.append(f"request {request_name(request)}: {why}")
    return found


def _named(parts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "run": parts["run_id"],
        "call": str(parts["number"]),
        "final_hash": parts["of"],
        "person": parts["by"],
        "verdict": parts["how"],
        "time": parts["at"],
    }
