"""The index of a folder of captures: `index.jsonl`, lines that are appended, under a lock that all processes share.

    {"t": "begin", "id", "name", "started_at", "pid", "process"}    when a capture is opened
    {"t": "end", "id", "status", "duration_ms", "spans", ...}       when it is closed

Every process appends whole lines while it holds the lock on the file `lock`; who removes captures writes the index
anew, into a file beside it that is then renamed, under the same lock. A line that a crash left torn is left out by the
reader, and the next writer begins a new line behind it.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

_INDEX: Final = "index.jsonl"
_LOCK: Final = "lock"
_OF_BEGIN: Final = ("id", "name", "started_at", "pid", "process")


class Index:
    """What is known about the captures in a folder.

    Durability: a line is with the operating system when the call returns; it survives the death of the process.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def is_there(self) -> bool:
        """Say whether a store has used this folder."""
        return (self._folder / _INDEX).is_file() or (self._folder / _LOCK).is_file()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep all others out; the lock ends with the process at the latest."""
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
        """Add a line."""
        with self.locked():
            self.write(line)

    def write(self, line: dict[str, Any]) -> None:
        """Add a line; the lock is held."""
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
        """Return what is known, each capture's lines made one object, and how many lines there are."""
        try:
            lines = (self._folder / _INDEX).read_bytes().split(b"\n")
        except FileNotFoundError:
            return {}, 0
        known: dict[str, dict[str, Any]] = {}
        for line in lines:
            try:
                each = json.loads(line)
                capture_id, word = str(each["id"]), each["t"]
            except (ValueError, KeyError, TypeError):
                continue  # torn by a crash, or the empty rest behind the last line end
            if word == "begin" and isinstance(each.get("name"), str) and isinstance(each.get("started_at"), str):
                known[capture_id] = {**each, **known.get(capture_id, {})}
            elif word == "end" and capture_id in known:
                known[capture_id].update(each)
        return known, len(lines)

    def rewrite(self, known: dict[str, dict[str, Any]]) -> None:
        """Write the index anew; the lock is held."""
        partial = self._folder / f"{_INDEX}.{os.getpid()}.partial"
        with partial.open("w", encoding="ascii") as stream:
            for each in known.values():
                begin = {key: each[key] for key in _OF_BEGIN if key in each}
                stream.write(json.dumps({"t": "begin", **begin}) + "\n")
                if "status" in each:
                    stream.write(json.dumps({**each, "t": "end"}) + "\n")
        partial.replace(self._folder / _INDEX)
