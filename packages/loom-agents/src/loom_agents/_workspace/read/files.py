"""Tools that read files: list them, read one, search in them.

Every answer reports what it omits: `truncated`, the number of all items in `total`, and
`next_offset`, the `offset` with which the same call returns the next items.
"""

import asyncio
import json
import re
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from loom_agents._errors import ToolError
from loom_agents._process.run import run_process
from loom_agents._workspace.jail import Workspace
from loom_agents._workspace.listing import matches, walk
from loom_agents._workspace.read import grep_worker
from loom_agents.redaction import MASK, redact_text

MAX_LINES = 2_000
MAX_LINE_CHARACTERS = 2_000
MAX_TEXT_CHARACTERS = 40_000
MAX_PATHS = 1_000
MAX_MATCHES = 200
MAX_SHOWN_CHARACTERS = 300
GREP_TIMEOUT_S = 20.0
GREP_MAX_FILE_BYTES = 4_000_000


@dataclass(frozen=True, slots=True)
class FileTools:
    """Read the files of one workspace.

    Args:
        workspace: The workspace.
        max_text_bytes: The most bytes of text of one answer, in addition to the limit in
            characters.
        grep_timeout_s: Seconds until a search is stopped.
    """

    workspace: Workspace
    max_text_bytes: int = 4 * MAX_TEXT_CHARACTERS
    grep_timeout_s: float = GREP_TIMEOUT_S

    def read_file(self, path: str, offset: int = 1, limit: int = 400) -> dict[str, Any]:
        """Read lines of a text file.

        Args:
            path: The file, relative to the workspace.
            offset: The first line to read; lines are numbered from 1.
            limit: How many lines, at most 2000.
        """
        offset, limit = _paging(offset, limit, first=1, most=MAX_LINES)
        with self.workspace.open(path) as file:
            _refuse_binary(path, file)
            lines, cut, masked, total = _window(file, offset, limit, self.max_text_bytes)
            size_bytes = file.tell()
        if offset > max(total, 1):
            raise ToolError(f"cannot read {path!r} from line {offset}: it has {total} lines.")
        after = offset + len(lines)
        answer: dict[str, Any] = {
            "path": path,
            "text": "".join(lines),
            "offset": offset,
            "lines": len(lines),
            "total": total,
            "size_bytes": size_bytes,
            "truncated": after <= total or bool(cut),
            "next_offset": after if after <= total else None,
        }
        if cut:
            answer["cut_lines"] = cut
        if masked:
            answer["masked_lines"] = masked  # of a private key; a page that begins inside it does not show that
        return answer

    def list_files(self, glob: str = "**", offset: int = 0, limit: int = 200) -> dict[str, Any]:
        """List files of the workspace, except those that .gitignore excludes.

        Args:
            glob: Which paths, for example `src/**/*.py`; a glob without a slash matches in every
                folder.
            offset: How many paths to skip.
            limit: How many paths, at most 1000.
        """
        offset, limit = _paging(offset, limit, first=0, most=MAX_PATHS)
        found = [file for file in walk(self.workspace) if matches(file.path, glob)]
        shown = found[offset : offset + limit]
        files = [{"path": file.path, "size_bytes": file.size_bytes} for file in shown]
        return {"files": files, **_rest(offset, len(shown), len(found))}

    async def grep(self, pattern: str, glob: str = "**", offset: int = 0, limit: int = 50) -> dict[str, Any]:
        """Search the lines of the workspace's text files.

        Args:
            pattern: A Python regular expression; write `(?i)` at its start to ignore case.
            glob: In which paths, for example `docs/**/*.md`.
            offset: How many matches to skip.
            limit: How many matches, at most 200.
        """
        offset, limit = _paging(offset, limit, first=0, most=MAX_MATCHES)
        _check_pattern(pattern)
        visible = [file for file in walk(self.workspace) if matches(file.path, glob)]
        paths = [file.path for file in visible if file.size_bytes <= GREP_MAX_FILE_BYTES]
        # A regular expression can take forever and cannot be interrupted, so it runs in a separate
        # process.
        request = json.dumps({"pattern": pattern, "paths": paths, "offset": offset, "limit": limit})
        ended = await run_process(
            (sys.executable, "-I", "-S", str(Path(grep_worker.__file__))),
            folder=self.workspace.root,
            stdin=request.encode(),
            timeout_s=self.grep_timeout_s,
            max_output_bytes=16_000_000,
        )
        if ended.timed_out:
            raise ToolError(
                f"cannot search for {pattern!r}: it took longer than {self.grep_timeout_s:g} s."
                " Use a simpler pattern or a narrower glob."
            )
        if ended.exit_code != 0:
            raise ToolError(f"cannot search for {pattern!r}: the search ended with {ended.exit_code}.")
        found = await asyncio.to_thread(_found, ended.output)
        answer = {"matches": found["matches"], **_rest(offset, len(found["matches"]), found["total"])}
        if found["long_lines"]:
            answer["skipped_lines"] = found["long_lines"]  # of generated files, such as minified code
        if len(paths) < len(visible):
            answer["skipped_files"] = len(visible) - len(paths)
            answer["skipped_because"] = f"larger than {GREP_MAX_FILE_BYTES} bytes"
        return answer


def _found(output: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(output)
    found["matches"] = [
        {"path": each["path"], "line": each["line"], "text": _shown(each["text"], each["start"])}
        for each in found["matches"]
    ]
    return found


def _shown(text: str, start: int) -> str:
    """Return the part of a long line around a match; secrets are masked before it is cut."""
    if len(text) <= MAX_SHOWN_CHARACTERS:
        return text
    masked = redact_text(text)
    if masked != text:
        text, start = masked, len(redact_text(text[:start]))
        if len(text) <= MAX_SHOWN_CHARACTERS:
            return text
    first = max(0, min(start - 40, len(text) - MAX_SHOWN_CHARACTERS))
    return f"{'... ' if first else ''}{text[first : first + MAX_SHOWN_CHARACTERS]} ..."


def _check_pattern(pattern: str) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as exc:
        raise ToolError(f"cannot search for {pattern!r}: it is not a regular expression ({exc}).") from exc


def _paging(offset: int, limit: int, *, first: int, most: int) -> tuple[int, int]:
    if offset < first:
        raise ToolError(f"cannot start at offset {offset}: the first one is {first}.")
    if limit < 1:
        raise ToolError(f"cannot return {limit} of them: `limit` is at least 1.")
    return offset, min(limit, most)


def _rest(offset: int, shown: int, total: int) -> dict[str, Any]:
    more = offset + shown < total
    return {"total": total, "truncated": more, "next_offset": offset + shown if more else None}


def _refuse_binary(path: str, file: BinaryIO) -> None:
    if b"\0" in file.read(8192):
        raise ToolError(f"cannot read {path!r}: it is not a text file.")
    file.seek(0)


def _window(file: BinaryIO, offset: int, limit: int, max_bytes: int) -> tuple[list[str], list[int], int, int]:
    """Return the lines from `offset`, the numbers of truncated lines, how many are masked, and the
    count of all.

    Memory is bounded by the size of the answer, even for a file that is one huge line.
    """
    lines: list[str] = []
    cut: list[int] = []
    key_lines = grep_worker.KeyLines()
    taken = taken_bytes = masked = number = 0
    full = False
    while piece := file.readline(MAX_LINE_CHARACTERS * 4):
        number += 1
        start = piece
        rest = 0
        while not piece.endswith(b"\n") and (piece := file.readline(1 << 20)):
            rest += len(piece)
        text = start.decode("utf-8", "replace")
        is_masked = key_lines.has(text)
        if number < offset or len(lines) == limit or full:
            continue
        text = f"{MASK}\n" if is_masked else text.replace("\r\n", "\n")
        if not is_masked and (rest or len(text) > MAX_LINE_CHARACTERS):
            cut.append(number)
            text = text[:MAX_LINE_CHARACTERS] + f" [line cut: {len(start) + rest} bytes]\n"
        size = len(text.encode())
        if lines and (taken + len(text) > MAX_TEXT_CHARACTERS or taken_bytes + size > max_bytes):
            full = True
            continue
        masked += is_masked
        taken += len(text)
        taken_bytes += size
        lines.append(text)
    return lines, cut, masked, number
