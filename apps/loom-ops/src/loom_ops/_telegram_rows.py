"""What the Telegram face has to remember: how far it has read, and which message asks for which approval."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import apsw

from loom_ops._errors import LoomOpsError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Asked", "TelegramRows", "code_of"]

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS telegram_read (one INTEGER PRIMARY KEY CHECK (one = 1), next_update INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS telegram_asked (
    code       TEXT PRIMARY KEY,
    run_id     TEXT NOT NULL,
    number     INTEGER NOT NULL,
    chat       INTEGER NOT NULL,
    message    INTEGER NOT NULL,
    is_settled INTEGER NOT NULL DEFAULT 0
);
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """A message that asks for an approval."""

    code: str
    run_id: str
    number: int
    chat: int
    message: int


def code_of(run_id: str, number: int) -> str:
    """Name an approval in the 64 bytes that a button may carry."""
    return hashlib.sha256(f"{run_id}#{number}".encode()).hexdigest()[:24]


class TelegramRows:
    """The face's tables in the database of the runs.

    Raises:
        LoomOpsError: The database cannot be used.
    """

    def __init__(self, path: Path | str) -> None:
        try:
            self._db = apsw.Connection(str(path))
            self._db.set_busy_timeout(10_000)
            self._db.execute(_TABLES)
        except apsw.Error as exc:
            raise LoomOpsError(f"cannot use {path} for Telegram: {str(exc).splitlines()[0]}.") from exc

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    @property
    def next_update(self) -> int:
        """The first update that was not handled."""
        row = self._db.execute("SELECT next_update FROM telegram_read").fetchone()
        return int(row[0]) if row else 0

    def handled(self, update: int) -> None:
        """Remember that an update was handled, and all before it.

        Durability: on disk when this returns, so a restart does not handle it again.
        """
        self._db.execute(
            "INSERT INTO telegram_read VALUES (1, ?1) ON CONFLICT DO UPDATE SET next_update = max(next_update, ?1)",
            (update + 1,),
        )

    def asked(self, run_id: str, number: int, chat: int, message: int) -> None:
        """Remember the message that asks for an approval."""
        row = (code_of(run_id, number), run_id, number, chat, message)
        self._db.execute("INSERT OR REPLACE INTO telegram_asked VALUES (?, ?, ?, ?, ?, 0)", row)

    def is_asked(self, run_id: str, number: int) -> bool:
        """Tell whether a message asks for this approval."""
        return bool(
            self._db.execute("SELECT 1 FROM telegram_asked WHERE code = ?", (code_of(run_id, number),)).fetchone()
        )

    def find(self, code: str) -> Asked | None:
        """Return the message of a button."""
        sql = "SELECT code, run_id, number, chat, message FROM telegram_asked WHERE code = ?"
        row = self._db.execute(sql, (code,)).fetchone()
        return Asked(*row) if row else None

    def open_messages(self) -> list[Asked]:
        """Return the messages whose buttons are still shown."""
        sql = "SELECT code, run_id, number, chat, message FROM telegram_asked WHERE NOT is_settled"
        return [Asked(*row) for row in self._db.execute(sql)]

    def settled(self, code: str) -> None:
        """Remember that a message shows how it was decided."""
        self._db.execute("UPDATE telegram_asked SET is_settled = 1 WHERE code = ?", (code,))
