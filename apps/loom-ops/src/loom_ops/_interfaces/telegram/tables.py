"""The tables of the Telegram interface: the next update, and the message for each request."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from loom_ops._tables import Tables

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ApprovalMessage", "TelegramTables", "code_of"]

_MIGRATIONS: Final = (
    """
CREATE TABLE IF NOT EXISTS telegram_read (one INTEGER PRIMARY KEY CHECK (one = 1), next_update INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS telegram_asked (
    code       TEXT PRIMARY KEY,
    run_id     TEXT NOT NULL,
    number     INTEGER NOT NULL,
    chat       INTEGER NOT NULL,
    message    INTEGER NOT NULL,
    is_settled INTEGER NOT NULL DEFAULT 0
);
""",
    "ALTER TABLE telegram_asked ADD COLUMN shown TEXT NOT NULL DEFAULT ''",
)
_NEXT_UPDATE: Final = "SELECT next_update FROM telegram_read"
_SET_NEXT_UPDATE: Final = """INSERT INTO telegram_read VALUES (1, ?1)
    ON CONFLICT DO UPDATE SET next_update = max(next_update, ?1)"""
_ADD: Final = "INSERT OR REPLACE INTO telegram_asked VALUES (?, ?, ?, ?, ?, 0, ?)"
_SELECT: Final = "SELECT code, run_id, number, chat, message, shown FROM telegram_asked"
_BY_CODE: Final = f"{_SELECT} WHERE code = ?"
_OPEN: Final = f"{_SELECT} WHERE NOT is_settled"
_CLOSE: Final = "UPDATE telegram_asked SET is_settled = 1 WHERE code = ?"


@dataclass(frozen=True, slots=True)
class ApprovalMessage:
    """A message that requests an approval.

    Args:
        code: The code in its buttons.
        run_id, number: The request.
        chat, message: Telegram's ids.
        shown: The hash of what it shows; "" for a message of an earlier version.
    """

    code: str
    run_id: str
    number: int
    chat: int
    message: int
    shown: str


def code_of(run_id: str, number: int) -> str:
    """Return a code of 24 characters for a request; a button may hold 64 bytes."""
    return hashlib.sha256(f"{run_id}#{number}".encode()).hexdigest()[:24]


class TelegramTables:
    """The tables of the interface, in the database of the runs.

    Raises:
        LoomOpsError: The database cannot be opened.
    """

    def __init__(self, path: Path | str) -> None:
        self._tables = Tables(path, "telegram", "Telegram messages", _MIGRATIONS)

    def close(self) -> None:
        """Close the database. Closing twice is harmless."""
        self._tables.close()

    @property
    def next_update(self) -> int:
        """The first update that was not handled; 0 when none was."""
        rows = self._tables.rows(_NEXT_UPDATE)
        return int(rows[0][0]) if rows else 0

    def set_handled(self, update: int) -> None:
        """Record that an update was handled, and all before it.

        Durability: it is on disk when this returns, so a restart does not handle the update again.
        """
        with self._tables.transaction() as db:
            db.execute(_SET_NEXT_UPDATE, (update + 1,))

    def add_message(self, run_id: str, number: int, chat: int, message: int, shown: str) -> None:
        """Record the message that requests an approval, and what it shows."""
        with self._tables.transaction() as db:
            db.execute(_ADD, (code_of(run_id, number), run_id, number, chat, message, shown))

    def find(self, code: str) -> ApprovalMessage | None:
        """Return the message whose buttons hold a code."""
        rows = self._tables.rows(_BY_CODE, (code,))
        return ApprovalMessage(*rows[0]) if rows else None

    def open_messages(self) -> list[ApprovalMessage]:
        """Return the messages that still show their buttons."""
        return [ApprovalMessage(*row) for row in self._tables.rows(_OPEN)]

    def set_closed(self, code: str) -> None:
        """Record that a message shows the decision instead of its buttons."""
        with self._tables.transaction() as db:
            db.execute(_CLOSE, (code,))
