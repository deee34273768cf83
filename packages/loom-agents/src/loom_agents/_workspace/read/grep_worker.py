"""Search files for a regular expression, in a separate program that can be stopped.

Reads one JSON object from standard input (`pattern, paths, offset, limit`; the paths are relative
to the current folder and were chosen by the caller) and writes one to standard output
(`matches`, each with the place of the match in its text; `total`; `long_lines`: how many lines were
too long to be searched). The lines of private keys are not searched. It imports only the standard
library, because it runs with `python -I -S`.
"""

import json
import os
import re
import stat
import sys
import warnings
from typing import Any

CONTEXT_CHARACTERS = 4_000  # of a long line, on each side of a match: more than a key of 4096 bits has
MAX_SEARCHED_CHARACTERS = 20_000  # longer lines are in generated files, such as minified code
# As in flow_xray._redaction.known_forms, which cannot be imported here.
_KEY_BEGINS = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?!.*-----END )|PuTTY-User-Key-File-\d")
_KEY_HEADER = r"(?:Proc-Type|DEK-Info|Version|Comment|Encryption|Public-Lines|Private-Lines|Key-Derivation|Argon2-\w+):"
_KEY_LINE = re.compile(
    rf"""[\s"'`#*|>,;-]*+(?:{_KEY_HEADER}.*|(?:[A-Za-z0-9+/=]|\\[nr])*+)[\s"'`\\+,;)]*+""", re.DOTALL
)


def search(pattern: str, paths: list[str], offset: int, limit: int) -> dict[str, Any]:
    """Count all matching lines and return at most `limit` of them, starting at `offset`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a warning about the model's pattern would not reach the model
        expression = re.compile(pattern)
    found: list[dict[str, Any]] = []
    total = long_lines = 0
    root = os.path.realpath(".")
    for path in paths:
        key_lines = KeyLines()
        for number, line in enumerate(_lines(root, path), start=1):
            if key_lines.has(line):
                continue
            if len(line) > MAX_SEARCHED_CHARACTERS:
                long_lines += 1
                continue
            hit = expression.search(line)
            if hit is None:
                continue
            if offset <= total < offset + limit:
                first = max(0, hit.start() - CONTEXT_CHARACTERS)
                text = line[first : hit.start() + CONTEXT_CHARACTERS].rstrip("\r")
                found.append({"path": path, "line": number, "text": text, "start": hit.start() - first})
            total += 1
    return {"matches": found, "total": total, "long_lines": long_lines}


class KeyLines:
    """Tell which lines of a text are inside a private key. The lines are given in their order, all
    of them: one alone does not show that it is a part of a secret.
    """

    def __init__(self) -> None:
        self._in_key = False

    def has(self, line: str) -> bool:
        """Return whether this line is inside a private key; its first and last are not."""
        if self._in_key and _KEY_LINE.fullmatch(line):
            return True
        self._in_key = ("Key-" in line or "KEY" in line) and _KEY_BEGINS.search(line) is not None
        return False


def _lines(root: str, path: str) -> list[str]:
    if os.path.realpath(path) != os.path.join(root, path):  # noqa: PTH118 - pathlib is half of the start-up time
        return []  # replaced by a link in the meantime
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(handle, "rb") as file:
            data = file.read() if stat.S_ISREG(os.fstat(handle).st_mode) else b""
    except OSError:
        return []
    return [] if b"\0" in data[:8192] else data.decode("utf-8", "replace").split("\n")


if __name__ == "__main__":
    json.dump(search(**json.load(sys.stdin)), sys.stdout)
