"""Write a token file: add a token, remove one. Other tables and comments stay as they are."""

import json
import os
import re
import secrets
import tomllib
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from loom_agents._errors import AgentError
from loom_agents._serve.tokens import Scope, new_secret, read_token_file, token_digest

__all__ = ["add_token", "expiry_of", "remove_token"]

_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._-]{0,99}")


def add_token(path: Path, name: str, scopes: Collection[Scope], expires: datetime | None) -> str:
    """Add a token to a file, which is created if it does not exist, and return the token.

    Raises:
        AgentError: The file is not valid or cannot be written, or has this name.

    Durability: the file is on disk when this returns, mode 0600. It holds the hash of the token
    only.
    """
    if not _NAME.fullmatch(name):
        raise AgentError(f"cannot add {name!r}: a name has letters, digits and `@._-`. Choose another.")
    text = _text_of(path) if path.exists() else ""
    if text and name in read_token_file(path):
        raise AgentError(f"cannot add {name!r}: {path} has it. Revoke it first, or choose another name.")
    token = new_secret()
    lines = [f"[{json.dumps(name)}]" if re.search(r"[@.]", name) else f"[{name}]"]
    lines += [f'sha256 = "{token_digest(token)}"', f"scopes = {json.dumps(sorted(scopes))}"]
    lines += [] if expires is None else [f"expires = {expires.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"]
    separator = "" if not text else "\n" if text.endswith("\n") else "\n\n"
    _write(path, f"{text}{separator}" + "\n".join(lines) + "\n")
    return token


def remove_token(path: Path, name: str) -> None:
    """Remove a token from a file. A server that uses the file refuses it from its next request on.

    Raises:
        AgentError: The file is not valid, cannot be written, or has no such name.

    Durability: the file is on disk when this returns.
    """
    entries = read_token_file(path)
    if name not in entries:
        known = ", ".join(entries) or "none"
        raise AgentError(f"cannot revoke {name!r}: {path} has no such token. It has: {known}.")
    kept: list[str] = []
    is_in_it = False
    for line in _text_of(path).splitlines(keepends=True):
        if line.lstrip().startswith("["):
            is_in_it = _header(line) == name
        if not is_in_it:
            kept.append(line)
    _write(path, "".join(kept), without={name})


def expiry_of(text: str, now: datetime) -> datetime:
    """Return the time that `--expires` means: `30d`, `12h`, or a time with a zone.

    Raises:
        AgentError: It is neither, or is in the past.
    """
    found = re.fullmatch(r"(\d{1,5})([mhdw])", text)
    try:
        at = now + timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        at = None
    if at is None or at.tzinfo is None:
        raise AgentError(f"cannot use --expires {text}: it is neither like 30d or 12h nor like 2027-01-31T00:00:00Z.")
    if at <= now:
        raise AgentError(f"cannot use --expires {text}: it is in the past.")
    return at


def _text_of(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise AgentError(f"cannot read {path}: {exc}.") from exc


def _header(line: str) -> str | None:
    """Return the name of the table that a line begins; None if it begins none."""
    try:
        tables = tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return None
    return next(iter(tables), None)


def _write(path: Path, text: str, *, without: Collection[str] = ()) -> None:
    """Replace the file at once; nobody else can read it at any time.

    Raises:
        AgentError: It cannot be written, or would not be a token file without these names.
    """
    target = path.resolve()
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        try:
            has_left = read_token_file(temporary).keys() & set(without)
        except AgentError as exc:
            raise AgentError(f"cannot change {path}: its layout is unusual. Change it with an editor.") from exc
        if has_left:
            raise AgentError(f"cannot change {path}: its layout is unusual. Remove {min(has_left)!r} by hand.")
        temporary.replace(target)
    except OSError as exc:
        raise AgentError(f"cannot write {path}: {(exc.strerror or str(exc)).lower()}.") from exc
    finally:
        temporary.unlink(missing_ok=True)
