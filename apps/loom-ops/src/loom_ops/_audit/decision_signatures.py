"""Sign the decision of a person with Ed25519, and check the signature.

What is signed is a text of this domain, so that a signature of a head, or of another program, is
never one of a decision:

    loom-ops decision 1
    ["inc-001:sub:executor", "1", "<final hash>", "alice", "approve", "2026-11-29T16:30:00.000000+00:00"]

A signature is `KEY:SIGNATURE`, both in base64; KEY is the public key, which must be one of those
that the site trusts for this person. Source: RFC 8032, through the library `cryptography`.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Final

from loom_ops._audit.public_keys import public_text, require_cryptography

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from loom_ops._audit.trusted_keys import TrustedKeys

__all__ = ["check_signature", "sign_decision"]

DOMAIN: Final = "loom-ops decision 1"


def sign_decision(
    key: Ed25519PrivateKey, *, run: str, call: str, final_hash: str, person: str, verdict: str, time: str
) -> str:
    """Return the signature of a decision.

    Args:
        run: The run of the request.
        call: The number of the request in its run.
        final_hash: Covers the tool, its final arguments and the bound policy.
        person: Who decides.
        verdict: `approve`, `deny`, `edit`, or `retry`.
        time: When (UTC, ISO 8601), as it is stored with the decision.
    """
    signature = key.sign(_text(run, call, final_hash, person, verdict, time))
    return f"{public_text(key.public_key())}:{base64.b64encode(signature).decode()}"


def check_signature(
    trusted: TrustedKeys,
    signature: str,
    *,
    run: str,
    call: str,
    final_hash: str,
    person: str,
    verdict: str,
    time: str,
    at_use: bool = True,
) -> str | None:
    """Return why a signature is not the person's on this decision; None when it is.

    Args:
        at_use: The decision is about to be used, and a revoked key no longer counts. Otherwise a
            key counts for what was decided before it was revoked.
    """
    if not signature:
        return f"the decision of {person} is not signed"
    name, _, text = signature.partition(":")
    key = trusted.find(person, name)
    if key is None:
        return f"the decision of {person} is signed with a key that the site does not trust for {person}"
    if key.revoked is not None and (at_use or time >= key.revoked):
        return f"the decision of {person} is signed with a key that was revoked at {key.revoked}"
    require_cryptography()
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        public = Ed25519PublicKey.from_public_bytes(base64.b64decode(name, validate=True))
        public.verify(base64.b64decode(text, validate=True), _text(run, call, final_hash, person, verdict, time))
    except (InvalidSignature, ValueError, binascii.Error):
        return f"the signature of {person} is not one of this decision"
    return None


def _text(*parts: str) -> bytes:
    return f"{DOMAIN}\n{json.dumps(parts, ensure_ascii=True)}".encode()
