"""Permissions over HTTP: bearer tokens with scopes.

| scope | allows |
|---|---|
| `read` | read runs, events, approvals, traces and metrics |
| `run` | start runs, send messages, resume, cancel |
| `approve` | decide about tool calls; the decision is recorded under the token's name |
| `admin` | all of these |

A token file is TOML. It contains only hashes, so reading it gives no access:

    [alice]
    sha256 = "9f86d0..."            # of the token: the output of `printf %s TOKEN | sha256sum`
    scopes = ["read", "approve"]
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from loom_runner.errors import NotOwnFile
from loom_runner.own_files import decode_toml, read_own_file

from loom_agents._errors import AgentError

__all__ = ["SCOPES", "Caller", "Scope", "Tokens"]

Scope: TypeAlias = Literal["read", "run", "approve", "admin"]
SCOPES: Final[tuple[Scope, ...]] = ("read", "run", "approve", "admin")
_TOKEN_BYTES: Final = 24


@dataclass(frozen=True, slots=True)
class Caller:
    """Hold the name and the scopes of the caller of a request."""

    name: str
    scopes: frozenset[Scope]

    def may(self, scope: Scope) -> bool:
        """Report whether a request with this scope is allowed."""
        return scope in self.scopes or "admin" in self.scopes


class Tokens:
    """Hold the tokens of one server, as hashes, and the sessions of its page."""

    def __init__(self, callers: Mapping[str, Caller]) -> None:
        self._callers = dict(callers)
        self._sessions: dict[str, Caller] = {}

    @classmethod
    def generated(cls, name: str) -> "tuple[Tokens, str]":
        """Generate one token with every scope; the token is returned and not stored."""
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        return cls({_digest(token): Caller(name, frozenset(SCOPES))}), token

    @classmethod
    def of_file(cls, path: Path) -> "Tokens":
        """Read a token file.

        Raises:
            AgentError: The file cannot be read, or is not valid.
        """
        try:
            entries = decode_toml(read_own_file(path))
        except NotOwnFile as exc:
            raise AgentError(f"cannot read {path}: {exc}") from exc
        except OSError as exc:
            raise AgentError(f"cannot read {path}: {(exc.strerror or str(exc)).lower()}.") from exc
        except ValueError as exc:
            raise AgentError(f"cannot read {path}: it is not TOML: {exc}. Correct it.") from exc
        callers = {}
        for name, entry in entries.items():
            digest, caller = _entry(path, name, entry)
            callers[digest] = caller
        if not callers:
            raise AgentError(f"cannot use {path}: it has no tokens. Add a table [NAME].")
        return cls(callers)

    def caller(self, token: str) -> Caller | None:
        """Return the caller with this token; None for an unknown token."""
        token_digest = _digest(token)
        found = None
        for digest, caller in self._callers.items():
            if hmac.compare_digest(digest, token_digest):
                found = caller
        return found

    def open_session(self, caller: Caller) -> str:
        """Return the secret for a browser's cookie, valid until the server stops."""
        session = secrets.token_urlsafe(_TOKEN_BYTES)
        self._sessions[_digest(session)] = caller
        return session

    def of_session(self, session: str) -> Caller | None:
        """Return the caller with this session; None for an unknown session."""
        return self._sessions.get(_digest(session))


def _entry(path: Path, name: str, entry: Any) -> tuple[str, Caller]:
    if not isinstance(entry, dict) or entry.keys() != {"sha256", "scopes"}:
        raise AgentError(f"cannot use {path}: [{name}] does not have exactly `sha256` and `scopes`.")
    digest, scopes = entry["sha256"], entry["scopes"]
    if not isinstance(digest, str) or not re.fullmatch(r"[0-9a-fA-F]{64}", digest):
        raise AgentError(f"cannot use {path}: sha256 of [{name}] is not 64 hexadecimal digits.")
    if not isinstance(scopes, list) or not scopes or not set(scopes) <= set(SCOPES):
        raise AgentError(f"cannot use {path}: scopes of [{name}] are not among {', '.join(SCOPES)}.")
    return digest.lower(), Caller(name, frozenset(scopes))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
