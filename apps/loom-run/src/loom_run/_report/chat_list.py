"""The list of the chats of a database."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from loom_agents import MessageFormatError
from loom_runner import Runs, SQLiteStore
from loom_runner.cli_base import Output, shorten, styled_status, write_rows

from loom_run._chat.turn import chat_state, chat_status
from loom_run._errors import LoomRunError


def write_chats(store: SQLiteStore, output: Output) -> None:
    """List the chats of a database, the latest first."""
    columns = {
        "run": lambda row: row["run_id"],
        "status": lambda row: styled_status(row["status"]),
        "turns": lambda row: str(row["turn"]),
        "steps": lambda row: str(row["step_index"]),
        "updated": lambda row: _local_time(row["updated_at"]),
        "last message": lambda row: shorten(row["message"] or "", 200),
    }
    write_rows(_chats(store), columns, output, empty="no chats yet. Start one: loom-run chat ...")


def _chats(store: SQLiteStore) -> Iterator[dict[str, Any]]:
    for row in Runs(store).list(limit=1000):
        try:
            state = chat_state(row["run_id"], row["state"])
        except (LoomRunError, MessageFormatError):
            continue  # a run of another program, or of a later version
        yield {
            "run_id": row["run_id"],
            "status": chat_status(row["status"], row["wait"], row["error"]),
            "turn": state.turn,
            "step_index": row["step_index"],
            "updated_at": row["updated_at"],
            "message": state.last_user_text,
            "usage": state.usage.to_json(),
        }


def _local_time(at: str) -> str:
    return datetime.fromisoformat(at).astimezone().strftime("%Y-%m-%d %H:%M")
