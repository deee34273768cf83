"""Sign the head of an audit trail with Ed25519; the public key verifies the signature.

Keys are PEM files: `openssl genpkey -algorithm ed25519 -out ops.pem`, `openssl pkey -in ops.pem
-pubout -out ops.pub`. The signed text is `loom-ops audit head NUMBER:HASH`. Source: RFC 8032,
through the library `cryptography`.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING

from loom_runner.errors import NotOwnFile
from loom_runner.own_files import read_own_file, read_plain_file

from loom_ops._audit.chain import AuditHead
from loom_ops._errors import AuditError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["sign_head", "verified_head"]


def sign_head(head: AuditHead, key: Path) -> str:
    """Return the head and its signature as one line of JSON.

    Raises:
        AuditError: The key cannot be used.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        private = load_pem_private_key(_read(key, is_own=True), password=None)
    except (ValueError, TypeError) as exc:
        raise AuditError(f"cannot sign: {key} is not a private key in PEM without a password.") from exc
    if not isinstance(private, Ed25519PrivateKey):
        raise AuditError(f"cannot sign: {key} is not an Ed25519 key.")
    signature = base64.b64encode(private.sign(_text(head))).decode()
    return json.dumps({"head": str(head), "signature": signature})


def verified_head(signed: Path, key: Path) -> AuditHead:
    """Return the head in a signed file, after verifying its signature.

    Args:
        signed: The file that `sign_head` wrote.
        key: The public key.

    Raises:
        AuditError: The signature is not that of the key, or a file cannot be used.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        public = load_pem_public_key(_read(key, is_own=True))
    except ValueError as exc:
        raise AuditError(f"cannot verify: {key} is not a public key in PEM.") from exc
    if not isinstance(public, Ed25519PublicKey):
        raise AuditError(f"cannot verify: {key} is not an Ed25519 key.")
    try:
        data = json.loads(_read(signed))
        head = AuditHead.parse(data["head"])
        public.verify(base64.b64decode(data["signature"], validate=True), _text(head))
    except (ValueError, LookupError, TypeError, AttributeError, binascii.Error) as exc:
        raise AuditError(f"cannot verify: {signed} is not a signed head.") from exc
    except InvalidSignature as exc:
        raise AuditError(
            f"cannot verify: the signature in {signed} is not that of {key}. Do not trust this head."
        ) from exc
    return head


def _text(head: AuditHead) -> bytes:
    return f"loom-ops audit head {head}".encode()


def _read(path: Path, *, is_own: bool = False) -> bytes:
    """Read a file; a key that others can write would make their signatures valid."""
    try:
        return read_own_file(path) if is_own else read_plain_file(path)
    except NotOwnFile as exc:
        raise AuditError(f"cannot read {path}: {exc}") from exc
    except OSError as exc:
        raise AuditError(f"cannot read {path}: {(exc.strerror or str(exc)).lower()}.") from exc
