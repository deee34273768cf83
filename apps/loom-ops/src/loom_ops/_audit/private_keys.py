"""The private key of a person, which signs their decisions.

It is a PEM file that only its owner can read, in the user's configuration folder:
`~/.config/loom-ops/keys/NAME.pem`.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from loom_ops._audit.public_keys import public_text, require_cryptography
from loom_ops._errors import AuditError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["load_private_key", "new_private_key", "private_key_file"]

DEFAULT_NAME: Final = "default"
KEY_VARIABLE: Final = "LOOM_OPS_KEY"
_MAX_BYTES: Final = 1_000_000
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def private_key_file(name: str | None = None) -> Path:
    """Return the file of a private key of this user.

    Args:
        name: Its name; None for the one that the variable LOOM_OPS_KEY names, or `default`.

    Raises:
        AuditError: The name cannot be that of a file.
    """
    name = name or os.environ.get(KEY_VARIABLE) or DEFAULT_NAME
    if not _NAME.fullmatch(name):
        raise AuditError(f"cannot use the key {name[:80]!r}: a name has letters, digits, dots, dashes and underscores.")
    try:
        base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    except RuntimeError as exc:  # a container without a home
        raise AuditError(
            "cannot find your keys: there is no home folder. Set XDG_CONFIG_HOME to a folder of yours."
        ) from exc
    return Path(base) / "loom-ops" / "keys" / f"{name}.pem"


def new_private_key(file: Path) -> str:
    """Write a new private key for its owner only; return its public key.

    Raises:
        AuditError: The file exists, or cannot be written.

    Durability: it is on disk when this returns.
    """
    require_cryptography()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = Ed25519PrivateKey.generate()
    data = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
    except FileExistsError as exc:
        raise AuditError(
            f"cannot write a new key: {file} exists, and is never overwritten. Choose another name."
        ) from exc
    except OSError as exc:
        raise AuditError(f"cannot write a new key to {file}: {(exc.strerror or str(exc)).lower()}.") from exc
    return public_text(key.public_key())


def load_private_key(file: Path) -> Ed25519PrivateKey:
    """Read a private key.

    Raises:
        AuditError: There is none, others can read it, or it is not an Ed25519 key.
    """
    require_cryptography()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        with file.open("rb") as stream:
            status = os.fstat(stream.fileno())
            data = stream.read(_MAX_BYTES)
    except FileNotFoundError as exc:
        raise AuditError(
            f"cannot sign: there is no key {file}. Make one with loom-ops keys new, and give its public key to the "
            "people of the site."
        ) from exc
    except OSError as exc:
        raise AuditError(f"cannot sign: cannot read {file}: {(exc.strerror or str(exc)).lower()}.") from exc
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
        raise AuditError(f"cannot sign: others can read {file}. Run chmod 600 {file}, and make a new key.")
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError) as exc:
        raise AuditError(f"cannot sign: {file} is not a private key in PEM without a password.") from exc
    if not isinstance(key, Ed25519PrivateKey):
        raise AuditError(f"cannot sign: {file} is not an Ed25519 key.")
    return key
