"""The public keys that a site trusts, in `loom-ops.keys.toml` beside its settings:

    [[key]]
    person = "alice"
    public = "q83vEjRW..."
    added = "2026-11-29T16:30:00.000000Z"
    revoked = "2027-01-01T00:00:00.000000Z"

Who can write this file can approve in any name, so it must belong to its reader or to root, and
others must not be able to write it, nor a folder or a link on the way.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from loom_runner.errors import NotOwnFile
from loom_runner.own_files import decode_toml, read_own_file

from loom_ops._audit.config import KEYS_FILE
from loom_ops._clock import now_iso
from loom_ops._errors import AuditError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["TrustedKey", "TrustedKeys", "read_trusted_keys", "revoke_key", "trust_key"]

_MEMBERS: Final = frozenset({"person", "public", "added", "revoked"})


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A public key that a site trusts.

    Args:
        public: The 32 bytes of the key in base64.
        revoked: When it was revoked (UTC, ISO 8601); None while it counts.
    """

    person: str
    public: str
    added: str
    revoked: str | None = None


@dataclass(frozen=True, slots=True)
class TrustedKeys:
    """The keys that a site trusts."""

    keys: tuple[TrustedKey, ...] = ()

    def find(self, person: str, public: str) -> TrustedKey | None:
        """Return a key of a person."""
        return next((key for key in self.keys if (key.person, key.public) == (person, public)), None)


def read_trusted_keys(folder: Path) -> TrustedKeys:
    """Read the keys that a site trusts; none without a file.

    Raises:
        AuditError: The file is not one, or others can write it.
    """
    file = folder / KEYS_FILE
    try:
        data = read_own_file(file)
    except FileNotFoundError:
        return TrustedKeys()
    except NotOwnFile as exc:
        raise AuditError(f"cannot trust {file}: {exc}") from exc
    except OSError as exc:
        raise AuditError(f"cannot read {file}: {(exc.strerror or str(exc)).lower()}. Correct it.") from exc
    try:
        entries: Any = decode_toml(data).get("key", [])
        return TrustedKeys(tuple(_trusted_key(entry, file) for entry in entries))
    except (ValueError, TypeError, AttributeError) as exc:
        raise AuditError(f"cannot read {file}: {exc}. Correct it.") from exc


def trust_key(folder: Path, person: str, public: str) -> None:
    """Add a key of a person to the keys that a site trusts.

    Raises:
        AuditError: It is there already, or the file cannot be written.

    Durability: it is on disk when this returns.
    """
    if not person.strip() or any(ord(char) < 32 for char in person):
        raise AuditError("cannot trust a key: the person has no name. Give the name that the groups use.")
    known = read_trusted_keys(folder).keys
    if any(key.public == public for key in known):
        owner = next(key.person for key in known if key.public == public)
        raise AuditError(f"cannot trust this key for {person}: {KEYS_FILE} has it already, for {owner}.")
    _write(folder, (*known, TrustedKey(person, public, now_iso())))


def revoke_key(folder: Path, public: str) -> TrustedKey:
    """Revoke a key of a site; decisions that were signed before still verify in the audit.

    Args:
        public: The key, or its begin (at least 8 characters).

    Raises:
        AuditError: There is no such key, there are several, or it was revoked before.
    """
    known = read_trusted_keys(folder).keys
    found = [key for key in known if key.public == public or (len(public) >= 8 and key.public.startswith(public))]
    if len(found) != 1:
        raise AuditError(f"cannot revoke {public[:80]!r}: {len(found) or 'no'} keys begin so. See loom-ops keys list.")
    [key] = found
    if key.revoked is not None:
        raise AuditError(f"cannot revoke {key.public}: it was revoked at {key.revoked}.")
    revoked = TrustedKey(key.person, key.public, key.added, now_iso())
    _write(folder, tuple(revoked if each == key else each for each in known))
    return revoked


def _trusted_key(entry: dict[str, object], file: Path) -> TrustedKey:
    unknown = sorted(entry.keys() - _MEMBERS)
    if unknown or not all(isinstance(value, str) for value in entry.values()) or not {"person", "public"} <= set(entry):
        raise AuditError(f"cannot read {file}: a key has person, public, added and perhaps revoked, as texts.")
    texts = {name: str(value) for name, value in entry.items()}
    return TrustedKey(texts["person"], texts["public"], texts.get("added", ""), texts.get("revoked"))


def _write(folder: Path, keys: tuple[TrustedKey, ...]) -> None:
    file = folder / KEYS_FILE
    lines = ["# The public keys whose signatures count as decisions of a person: loom-ops keys trust, keys revoke."]
    for key in keys:
        lines += ["", "[[key]]"]
        for name in ("person", "public", "added", "revoked"):
            if (value := getattr(key, name)) is not None:
                lines.append(f"{name} = {json.dumps(value, ensure_ascii=False)}")
    temporary = file.with_name(f".{KEYS_FILE}.{os.getpid()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write("\n".join(lines) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
    except OSError as exc:
        raise AuditError(f"cannot write {file}: {(exc.strerror or str(exc)).lower()}.") from exc
