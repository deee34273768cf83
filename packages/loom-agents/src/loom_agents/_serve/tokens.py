"""Permissions over HTTP: bearer tokens with scopes, and the sessions of the page.

| scope | allows |
|---|---|
| `read` | read all runs, events, approvals, traces and metrics, also those of other people |
| `run` | start runs; send messages to the own ones, resume and cancel them |
| `approve` | decide about tool calls; the decision is recorded under the token's name |
| `admin` | all of these, on the runs of everybody |

A token file is TOML. It contains only hashes, so reading it gives no access:

    [alice]
    sha256 = "9f86d0..."            # of the token: the output of `printf %s TOKEN | sha256sum`
    scopes = ["read", "approve"]
    expires = 2027-01-31T00:00:00Z  # optional

The file is read again when it has changed, so a token that was removed from it, or has expired, is
refused at the next request; its sessions and event streams end. A file that cannot be read any more
lets nobody in.
"""

import hashlib
import hmac
import logging
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from loom_runner.errors import NotOwnFile
from loom_runner.own_files import decode_toml, read_own_file

from loom_agents._errors import AgentError

__all__ = ["SCOPES", "Caller", "Entry", "Scope", "Tokens", "new_secret", "read_token_file", "token_digest"]

Scope: TypeAlias = Literal["read", "run", "approve", "admin"]
SCOPES: Final[tuple[Scope, ...]] = ("read", "run", "approve", "admin")
SESSION_IDLE_S: Final = 8 * 3600
SESSION_MAX_S: Final = 24 * 3600
_MAX_SESSIONS: Final = 1000
_TOKEN_BYTES: Final = 24
_MEMBERS: Final = {"sha256", "scopes"}


@dataclass(frozen=True, slots=True)
class Caller:
    """Hold the name and the scopes of the caller of a request."""

    name: str
    scopes: frozenset[Scope]

    def may(self, scope: Scope) -> bool:
        """Report whether a request with this scope is allowed."""
        return scope in self.scopes or "admin" in self.scopes


@dataclass(frozen=True, slots=True)
class Entry:
    """Hold one token: the hash that identifies it, who has it, and until when it is valid.

    Args:
        expires_at: Seconds since 1970; None for a token that does not expire.
    """

    digest: str
    caller: Caller
    expires_at: float | None = None

    def is_valid(self, now: float) -> bool:
        """Report whether the token has not expired."""
        return self.expires_at is None or now < self.expires_at


@dataclass(slots=True)
class _Session:
    digest: str
    opened_at: float
    used_at: float

    def has_ended(self, now: float) -> bool:
        return now - self.used_at >= SESSION_IDLE_S or now - self.opened_at >= SESSION_MAX_S


class Tokens:
    """Hold the tokens of one server, as hashes, and the sessions of its page.

    Args:
        entries: The tokens.
        path: The file that they are from; it is read again when it has changed.
        clock: Returns the time, in seconds since 1970.
    """

    def __init__(
        self, entries: Mapping[str, Entry], *, path: Path | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._clock = clock
        self._version: tuple[int, ...] | None = None  # of the file; the first request reads it again
        self._by_digest = {entry.digest: entry for entry in entries.values()}
        self._sessions: dict[str, _Session] = {}

    @classmethod
    def generated(cls, name: str, *, clock: Callable[[], float] = time.time) -> "tuple[Tokens, str]":
        """Generate one token with every scope; the token is returned and not stored."""
        token = new_secret()
        return cls({name: Entry(token_digest(token), Caller(name, frozenset(SCOPES)))}, clock=clock), token

    @classmethod
    def of_file(cls, path: Path, *, clock: Callable[[], float] = time.time) -> "Tokens":
        """Read a token file.

        Raises:
            AgentError: The file cannot be read, is not valid, or has no tokens.
        """
        entries = read_token_file(path)
        if not entries:
            raise AgentError(f"cannot use {path}: it has no tokens. Add a table [NAME].")
        return cls(entries, path=path, clock=clock)

    def caller(self, token: str) -> Caller | None:
        """Return the caller with this token; None for a token that is unknown or has expired."""
        return self._of_digest(token_digest(token))

    def open_session(self, token: str) -> str | None:
        """Return the secret for a browser's cookie; None for a token that is not valid.

        The session ends when it was not used for 8 hours, 24 hours after it was opened, and when
        its token is not valid any more.
        """
        digest, now = token_digest(token), self._clock()
        if self._of_digest(digest) is None:
            return None
        self._sessions = {key: each for key, each in self._sessions.items() if not each.has_ended(now)}
        while len(self._sessions) >= _MAX_SESSIONS:
            del self._sessions[min(self._sessions, key=lambda key: self._sessions[key].used_at)]
        session = new_secret()
        self._sessions[token_digest(session)] = _Session(digest, now, now)
        return session

    def of_session(self, session: str, *, is_use: bool = True) -> Caller | None:
        """Return the caller with this session; None for one that is unknown or has ended.

        Args:
            is_use: Whether the session is being used now; False only asks whether it is valid.
        """
        key, now = token_digest(session), self._clock()
        found = self._sessions.get(key)
        if found is None:
            return None
        caller = None if found.has_ended(now) else self._of_digest(found.digest)
        if caller is None:
            del self._sessions[key]
        elif is_use:
            found.used_at = now
        return caller

    def _of_digest(self, given: str) -> Caller | None:
        self._read_again()
        found = None
        for digest, entry in self._by_digest.items():
            if hmac.compare_digest(digest, given):
                found = entry
        return found.caller if found is not None and found.is_valid(self._clock()) else None

    def _read_again(self) -> None:
        """Read the file if it is not the one that was read last."""
        if self._path is None or (version := _version(self._path)) == self._version:
            return
        self._version = version
        try:
            self._by_digest = {entry.digest: entry for entry in read_token_file(self._path).values()}
        except AgentError as exc:
            self._by_digest = {}
            logging.getLogger("loom_agents.serve").warning("no token is valid now: %s", exc)


def read_token_file(path: Path) -> dict[str, Entry]:
    """Read the tokens of a file, by name.

    Raises:
        AgentError: The file cannot be read, or is not valid.
    """
    try:
        tables = decode_toml(read_own_file(path))
    except NotOwnFile as exc:
        raise AgentError(f"cannot read {path}: {exc}") from exc
    except OSError as exc:
        raise AgentError(f"cannot read {path}: {(exc.strerror or str(exc)).lower()}.") from exc
    except ValueError as exc:
        raise AgentError(f"cannot read {path}: it is not TOML: {exc}. Correct it.") from exc
    entries = {name: _entry(path, name, table) for name, table in tables.items()}
    if len({entry.digest for entry in entries.values()}) < len(entries):
        raise AgentError(f"cannot use {path}: two names have the same token. Give each its own.")
    return entries


def new_secret() -> str:
    """Return a new random token."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def token_digest(token: str) -> str:
    """Return the SHA-256 of a token, as the file has it."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def _version(path: Path) -> tuple[int, ...]:
    """Return what differs when a file was written or replaced; empty for a missing file."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _entry(path: Path, name: str, table: Any) -> Entry:
    if not isinstance(table, dict) or not table.keys() >= _MEMBERS or table.keys() - _MEMBERS - {"expires"}:
        text = "does not have exactly `sha256` and `scopes` (and perhaps `expires`)"
        raise AgentError(f"cannot use {path}: [{name}] {text}.")
    digest, scopes, expires = table["sha256"], table["scopes"], table.get("expires")
    if not isinstance(digest, str) or not re.fullmatch(r"[0-9a-fA-F]{64}", digest):
        raise AgentError(f"cannot use {path}: sha256 of [{name}] is not 64 hexadecimal digits.")
    if not isinstance(scopes, list) or not scopes or not all(scope in SCOPES for scope in scopes):
        raise AgentError(f"cannot use {path}: scopes of [{name}] are not among {', '.join(SCOPES)}.")
    if expires is not None and (not isinstance(expires, datetime) or expires.tzinfo is None):
        text = "is not a time with a zone, such as 2027-01-31T00:00:00Z"
        raise AgentError(f"cannot use {path}: expires of [{name}] {text}.")
    expires_at = None if expires is None else expires.timestamp()
    return Entry(digest.lower(), Caller(name, frozenset(scopes)), expires_at)
