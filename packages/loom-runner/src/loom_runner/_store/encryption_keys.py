"""Encryption at rest: AES-GCM keys, where they come from, and what is encrypted with them.

A store with keys encrypts everything that a user wrote (states, inputs, results, payloads,
arguments, errors, signals) before SQLite sees it, each value separately and with its own nonce.
Ids, names, statuses, times and sizes stay readable, because the store searches by them. Without the
key an encrypted value cannot be read, and not be changed without detection; whole values can still
be moved or removed by anyone who can write to the file.

*Rotation.* Every encrypted value names its key. The first key of a ring encrypts, all of them
decrypt; `SQLiteStore.rekey` encrypts every value again with the first key, after which the others
are no longer needed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from typing import TYPE_CHECKING, Final

from loom_runner.errors import NotOwnFile, StoreLocked, UsageError
from loom_runner.own_files import read_own_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["KeyRing", "new_key"]

KEY_VARIABLE: Final = "LOOM_RUNNER_KEY"
KEY_FILE_VARIABLE: Final = "LOOM_RUNNER_KEY_FILE"
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12


class KeyRing:
    """AES-256 keys by their ids. The first one encrypts, all of them decrypt.

    Args:
        keys: 32 bytes each, by an id of 1 to 40 printable ASCII characters.

    Raises:
        UsageError: There is no key, a key or an id is not of this form, or the extra `crypt` is not
            installed.

    Source: NIST SP 800-38D: with random 96-bit nonces one key may encrypt 2**32 values.
    """

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError as exc:
            raise UsageError(
                "cannot use keys: the package cryptography is not installed. Install loom-runner[crypt]."
            ) from exc
        if not keys:
            raise UsageError("cannot use an empty key ring: give it at least one key.")
        for key_id, key in keys.items():
            if not (0 < len(key_id) <= 40 and key_id.isascii() and key_id.isprintable()) or set(key_id) & set(":,# "):
                raise UsageError(f"cannot use the key id {key_id!r}: it is 1 to 40 ASCII characters without ':,# '.")
            if len(key) != _KEY_BYTES:
                raise UsageError(f"cannot use key {key_id!r}: it has {len(key)} bytes, and {_KEY_BYTES} are needed.")
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self.key_id = next(iter(keys))
        self._prefix = bytes([len(self.key_id)]) + self.key_id.encode()
        self._address_key = hmac.digest(keys[self.key_id], b"loom-runner blob address", "sha256")

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ids, that of the encrypting key first."""
        return tuple(self._ciphers)

    @classmethod
    def from_text(cls, text: str, source: str) -> KeyRing:
        """Parse keys written as `id:base64` or `base64`, separated by commas or line breaks; `#`
        begins a comment.

        Raises:
            UsageError: The text contains something else. The message names `source`, never the
                text.
        """
        keys: dict[str, bytes] = {}
        for line in text.splitlines():
            for entry in filter(None, (part.strip() for part in line.partition("#")[0].split(","))):
                name, _, encoded = entry.rpartition(":")
                try:
                    key = base64.b64decode(encoded, validate=True)
                except (binascii.Error, ValueError):
                    key = b""
                if len(key) != _KEY_BYTES:
                    raise UsageError(
                        f"cannot read the key in {source}: it is not {_KEY_BYTES} bytes in base64, with or without an "
                        "'id:' before them. Create one with: openssl rand -base64 32."
                    )
                keys.setdefault(name or hashlib.sha256(key).hexdigest()[:8], key)
        if not keys:
            raise UsageError(f"cannot read the key in {source}: there is none.")
        return cls(keys)

    @classmethod
    def from_file(cls, path: str | Path) -> KeyRing:
        """Read keys from a file (see `from_text`)."""
        try:
            return cls.from_text(read_own_file(path).decode("ascii"), str(path))
        except NotOwnFile as exc:
            raise UsageError(f"cannot read the key file {path}: {exc}") from exc
        except (OSError, UnicodeError) as exc:
            raise UsageError(f"cannot read the key file {path}: {exc}.") from exc

    @classmethod
    def from_environment(cls) -> KeyRing | None:
        """Read keys from LOOM_RUNNER_KEY, or from the file that LOOM_RUNNER_KEY_FILE names; None if
        neither is set."""
        if text := os.environ.get(KEY_VARIABLE):
            return cls.from_text(text, KEY_VARIABLE)
        if path := os.environ.get(KEY_FILE_VARIABLE):
            return cls.from_file(path)
        return None

    def seal(self, data: bytes) -> bytes:
        """Encrypt with the first key."""
        nonce = os.urandom(_NONCE_BYTES)
        return self._prefix + nonce + self._ciphers[self.key_id].encrypt(nonce, data, self._prefix)

    def unseal(self, sealed: bytes) -> bytes:
        """Decrypt what `seal` of a ring with the same key returned.

        Raises:
            StoreLocked: The ring has no key of this id, or a different one; or the bytes were
                changed.
        """
        from cryptography.exceptions import InvalidTag

        key_id = sealed_by(sealed)
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise StoreLocked(f"it is encrypted with key {key_id!r}, and the keys given are {', '.join(self.key_ids)}")
        start = 1 + sealed[0]
        try:
            return cipher.decrypt(sealed[start : start + _NONCE_BYTES], sealed[start + _NONCE_BYTES :], sealed[:start])
        except (InvalidTag, ValueError) as exc:
            raise StoreLocked(
                f"the key {key_id!r} that was given is not the one it was encrypted with, or the bytes were changed"
            ) from exc

    def address(self, data: bytes) -> bytes:
        """Return a keyed hash: equal content has the same hash, which reveals nothing without the
        key.
        """
        return hmac.digest(self._address_key, data, "sha256")


def sealed_by(sealed: bytes) -> str:
    """Return the id of the key that encrypted these bytes."""
    return sealed[1 : 1 + sealed[0]].decode("ascii", "replace") if sealed else ""


def new_key(key_id: str) -> str:
    """Create a key, as a line for LOOM_RUNNER_KEY or a key file."""
    return f"{key_id}:{base64.b64encode(os.urandom(_KEY_BYTES)).decode()}"
