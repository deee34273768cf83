"""The index of a folder of captures: the file `index.jsonl`, under a lock of all processes.

    {"t": "begin", "id", "name", "started_at", "pid", "process"}    when a capture is opened
    {"t": "end", "id", "status", "duration_ms", "spans", ...}       when it is closed

Every process appends whole lines while it holds the lock on the file `lock`. A process that removes
captures rewrites the index under the same lock: into a temporary file, which is then renamed. A
reader skips a line that a crash truncated, and the next writer begins a new line after it.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from flow_xray._data.span import STATUSES
from flow_xray._data.unpack import countable
from flow_xray._errors import TooLargeError
from flow_xray._read.bounds import decode, read_bounded
from flow_xray._write.whole_file import open_private

_INDEX: Final = "index.jsonl"
_LOCK: Final = "lock"
_NUMBERS: Final = (
    "size_bytes",
    "spans",
    "model_calls",
    "errors",
    "tokens",
    "cost_usd",
    "duration_ms",
    "unpriced_calls",
)
_MAY_BE_NULL: Final = frozenset({"cost_usd", "duration_ms"})
_BEGIN_MEMBERS: Final = ("id", "name", "started_at", "pid", "process")


class Index:
    """The list of the captures in a folder.

    Durability: when a call returns, the operating system has the line; it survives the death of the
    process.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def exists(self) -> bool:
        """Return whether a store has used this folder."""
        return (self._folder / _INDEX).is_file() or (self._folder / _LOCK).is_file()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock; it is released when the process ends at the latest."""
        file = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if sys.platform == "win32":
                import msvcrt

                msvcrt.locking(file, msvcrt.LK_LOCK, 1)
            else:
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)

    def append(self, line: dict[str, Any]) -> None:
        """Append a line."""
        with self.locked():
            self.write(line)

    def write(self, line: dict[str, Any]) -> None:
        """Append a line; the caller holds the lock."""
        file = os.open(self._folder / _INDEX, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            is_torn = False
            if os.fstat(file).st_size:
                os.lseek(file, -1, os.SEEK_END)
                is_torn = os.read(file, 1) != b"\n"
            os.write(file, (b"\n" if is_torn else b"") + json.dumps(line).encode("ascii") + b"\n")
        finally:
            os.close(file)

    def read(self) -> tuple[dict[str, dict[str, Any]], int]:
        """Return the members of the lines of each capture, by id, and the number of lines."""
        try:
            lines = read_bounded(str(self._folder / _INDEX)).split(b"\n")
        except FileNotFoundError:
            return {}, 0
        known: dict[str, dict[str, Any]] = {}
        for line in lines:
            try:
                each = _checked(decode(line))
            except (ValueError, KeyError, TypeError, AttributeError, TooLargeError):
                continue  # truncated by a crash, empty after the last line end, or written by somebody else
            capture_id, kind = each["id"], each["t"]
            if kind == "begin" and isinstance(each.get("name"), str) and isinstance(each.get("started_at"), str):
                known[capture_id] = {**each, **known.get(capture_id, {})}
            elif kind == "end" and capture_id in known:
                known[capture_id].update(each)
        return known, len(lines)

    def rewrite(self, known: dict[str, dict[str, Any]]) -> None:
        """Rewrite the index; the caller holds the lock."""
        partial = self._folder / f"{_INDEX}.{os.getpid()}.partial"
        with open_private(partial) as stream:
            for each in known.values():
                begin = {key: each[key] for key in _BEGIN_MEMBERS if key in each}
                stream.write(json.dumps({"t": "begin", **begin}).encode("ascii") + b"\n")
                if "status" in each:
                    stream.write(json.dumps({**each, "t": "end"}).encode("ascii") + b"\n")
        partial.replace(self._folder / _INDEX)


def _checked(each: dict[str, Any]) -> dict[str, Any]:
    """Return a line whose members have the expected types; others are left out.

    Raises:
        ValueError: The id is not the name of a file in the folder, or the status is unknown.
    """
    capture_id = each["id"]
    if not isinstance(capture_id, str) or not capture_id or Path(capture_id).name != capture_id or "\0" in capture_id:
        raise ValueError(f"{capture_id!r} is not the id of a capture")
    if each["t"] == "end" and each["status"] not in STATUSES:
        raise ValueError(f"unknown status {each['status']!r}")
    numbers = {key: countable(each[key]) for key in _NUMBERS if key in each}
    wrong = {
        key
        for key, value in numbers.items()
        if type(value) not in (int, float) and not (value is None and key in _MAY_BE_NULL)
    }
    return {key: value for key, value in each.items() if key not in wrong}
