"""Who may do what over HTTP: bearer tokens with scopes.

| scope | allows |
|---|---|
| `read` | look at runs, events, approvals, traces and metrics |
| `run` | start runs, send messages, resume, cancel |
| `approve` | decide about tool calls; the token's name is the name of who decided |
| `admin` | all of that |

A file of tokens is TOML; it holds hashes, so that reading it gives no access:

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
    """Name who makes a request, and what they may do."""

    name: str
    scopes: frozenset[Scope]

    def may(self, scope: Scope) -> bool:
        """Say whether a request of this scope is allowed."""
        return scope in self.scopes or "admin" in self.scopes


class Tokens:
    """Hold the tokens of one server, as hashes, and the sessions of its page."""

    def __init__(self, callers: Mapping[str, Caller]) -> None:
        self._callers = dict(callers)
        self._sessions: dict[str, Caller] = {}

    @classmethod
    def generated(cls, name: str) -> "tuple[Tokens, str]":
        """Make one token that may do everything; its text is given once and kept nowhere."""
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        return cls({_digest(token): Caller(name, frozenset(SCOPES))}), token

    @classmethod
    def of_file(cls, path: Path) -> "Tokens":
        """Read a file of tokens.

        Raises:
            AgentError: it cannot be read, or says what nobody knows.
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
        """Say whose token this is."""
        given = _digest(token)
        found = None
        for digest, caller in self._callers.items():
            if hmac.compare_digest(digest, given):
                found = caller
        return found

    def open_session(self, caller: Caller) -> str:
        """Make a secret that stands for a token in a browser's cookie, until the server ends."""
        session = secrets.token_urlsafe(_TOKEN_BYTES)
        self._sessions[_digest(session)] = caller
        return session

    def of_session(self, session: str) -> Caller | None:
        """Say whose session this is."""
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
