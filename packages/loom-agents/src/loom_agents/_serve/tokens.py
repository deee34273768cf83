"""Who may do what over HTTP: bearer tokens with scopes.

| scope | allows |
|---|---|
| `read` | read runs, events, approvals, traces and metrics |
| `run` | start runs, send messages, resume, cancel |
| `approve` | decide about tool calls; the decision is recorded under the token's name |
| `admin` | all of that |

A token file is TOML. It contains hashes, so reading it gives no access:

    [alice]
    sha256 = "9f86d0..."            # of the token; `printf %s TOKEN | sha256sum` writes it
    scopes = ["read", "approve"]
"""

import hashlib
import hmac
import re
import secrets
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from loom_agents._errors import AgentError

__all__ = ["SCOPES", "Caller", "Scope", "Tokens"]

Scope: TypeAlias = Literal["read", "run", "approve", "admin"]
SCOPES: Final[tuple[Scope, ...]] = ("read", "run", "approve", "admin")
_TOKEN_BYTES: Final = 24


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request, and what they may do."""

    name: str
    scopes: frozenset[Scope]

    def may(self, scope: Scope) -> bool:
        """Return whether a request of this scope is allowed."""
        return scope in self.scopes or "admin" in self.scopes


class Tokens:
    """The tokens of one server, as hashes, and the sessions of its page."""

    def __init__(self, callers: Mapping[str, Caller]) -> None:
        self._callers = dict(callers)
        self._sessions: dict[str, Caller] = {}

    @classmethod
    def generated(cls, name: str) -> "tuple[Tokens, str]":
        """Generate one token with every scope; its text is returned and not stored."""
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        return cls({_digest(token): Caller(name, frozenset(SCOPES))}), token

    @classmethod
    def of_file(cls, path: Path) -> "Tokens":
        """Read a token file.

        Raises:
            AgentError: It cannot be read, or has unknown members.
        """
        try:
            entries = tomllib.loads(path.read_text())
        except OSError as exc:
            raise AgentError(f"cannot read {path}: {(exc.strerror or str(exc)).lower()}.") from exc
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
            raise AgentError(f"cannot read {path}: it is not TOML: {exc}. Correct it.") from exc
        callers = {}
        for name, entry in entries.items():
            digest, caller = _entry(path, name, entry)
            callers[digest] = caller
        if not callers:
            raise AgentError(f"cannot use {path}: it names nobody. Add a table [NAME].")
        return cls(callers)

    def caller(self, token: str) -> Caller | None:
        """Return whose token this is; None if nobody's."""
        given = _digest(token)
        found = None
        for digest, caller in self._callers.items():
            if hmac.compare_digest(digest, given):
                found = caller
        return found

    def open_session(self, caller: Caller) -> str:
        """Create the secret of a browser's cookie, valid until the server stops."""
        session = secrets.token_urlsafe(_TOKEN_BYTES)
        self._sessions[_digest(session)] = caller
        return session

    def of_session(self, session: str) -> Caller | None:
        """Return whose session this is; None if nobody's."""
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
