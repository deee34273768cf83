"""Public keys of Ed25519 as texts: 32 bytes in base64. Source: RFC 8032, through `cryptography`."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Any, Final

from loom_ops._errors import AuditError

__all__ = ["public_key_of", "public_text", "require_cryptography"]

_MAX_BYTES: Final = 1_000_000


def require_cryptography() -> None:
    """Check that signatures are possible.

    Raises:
        AuditError: The library is not installed.
    """
    from importlib.util import find_spec

    if find_spec("cryptography") is None:
        raise AuditError("cannot sign or verify: 'cryptography' is not installed. Install loom-ops[crypt].")


def public_text(key: Any) -> str:
    """Return a public key as it is written in the site's file."""
    return base64.b64encode(key.public_bytes_raw()).decode()


def public_key_of(text: str) -> str:
    """Return the public key in a file or a text: base64 as `keys new` prints it, or PEM.

    Raises:
        AuditError: It is not a public key of Ed25519.
    """
    text = text.strip()
    if "/" in text or text.endswith((".pub", ".pem")) or Path(text).is_file():
        try:
            text = Path(text).read_bytes()[:_MAX_BYTES].decode().strip() if Path(text).is_file() else text
        except (OSError, UnicodeDecodeError) as exc:
            raise AuditError(f"cannot trust {text[:80]!r}: the file cannot be read as text.") from exc
    if "PRIVATE KEY" in text:
        raise AuditError(
            "cannot trust it: this is a private key. Keep it, and give the public key that keys new prints."
        )
    if text.startswith("-----BEGIN"):
        return _public_of_pem(text)
    try:
        if len(base64.b64decode(text, validate=True)) == 32:
            return text
    except (ValueError, binascii.Error):
        pass
    raise AuditError(f"cannot trust {text[:80]!r}: it is not a public key of Ed25519. Give what keys new printed.")


def _public_of_pem(text: str) -> str:
    require_cryptography()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(text.encode())
    except ValueError as exc:
        raise AuditError("cannot trust it: it is not a public key in PEM.") from exc
    if not isinstance(key, Ed25519PublicKey):
        raise AuditError("cannot trust it: it is not a key of Ed25519.")
    return public_text(key)
