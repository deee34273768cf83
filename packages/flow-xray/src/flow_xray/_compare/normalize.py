"""Normalise values: replace what differs between two equal runs of the same program.

Values are normalised only for a comparison; recorded values never change. The patterns are narrow:
a number is a duration only with a unit and a decimal point, or after a word such as "took"; a port
only after a local host, or in the range of ephemeral ports; of a temporary path, only the stable
end is compared.
"""

import json
import re
from collections.abc import Collection
from functools import lru_cache
from typing import Final

from flow_xray._data.span import Json

_UNIT: Final = r"(?:ns|µs|us|ms|s|secs?|seconds?|milliseconds?|minutes?)"
_TEMPORARY: Final = re.compile(
    r"""(?:(?:/private)?/(?:tmp|var/tmp|var/folders/\w+/\w+/T|dev/shm)|[A-Za-z]:\\{1,2}(?:[^\s"'<>\\]{1,80}\\{1,2}){0,6}?Temp)"""
    r"""[/\\]+([^\s"'<>,;)\]}]+)"""
)
_RANDOM: Final = re.compile(r"\d|^tmp\w{8}")
_DIGIT: Final = re.compile(r"\d")
_HEX: Final = re.compile(r"\b(?:[0-9a-f]{12,}|[0-9A-F]{12,})\b")
# Words of which a text must contain one (searching for words is much faster), the pattern, its
# replacement.
_PATTERNS: Final = (
    (("-",), r"\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b", "<uuid>"),
    ((":",), r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z| ?[+-]\d\d:?\d\d| UTC)?", "<time>"),
    ((", ",), r"\b\w{3}, \d\d? \w{3} \d{4} \d\d:\d\d:\d\d (?:GMT|[+-]\d{4})", "<time>"),
    ((":",), r"\b\d\d:\d\d:\d\d(?:[.,]\d+)?\b", "<time>"),
    (("0x",), r"\b0[xX][0-9a-fA-F]{6,}\b", "<address>"),
    (
        ("call", "toolu", "msg", "chatcmpl", "resp", "req", "run", "fc", "rs"),
        r"\b(?:call|toolu|msg|chatcmpl|resp|req|run|fc|rs)[_-](?=[A-Za-z0-9]*\d)[A-Za-z0-9]{8,}\b",
        "<id>",
    ),
    ((".",), rf"\b\d+\.\d+ ?{_UNIT}\b", "<duration>"),
    (
        ("took", "in ", "after", "elapsed", "duration", "latency"),
        rf"\b(took|in|after|elapsed|duration|latency)([:= ]+)\d+ ?{_UNIT}\b",
        r"\1\2<duration>",
    ),
    (
        ("localhost:", "127.0.0.1:", "0.0.0.0:", "1]:", ":]:"),
        r"(\blocalhost|\b127\.0\.0\.1|\b0\.0\.0\.0|\[::1?\]):\d{4,5}\b",
        r"\1:<port>",
    ),
    (("port",), r"\b(port)([:= ]+)(?:3[3-9]|[45]\d|6[0-5])\d{3}\b", r"\1\2<port>"),
    (("pid", "process"), r"\b(pid|process)([:= ]+)\d+\b", r"\1\2<pid>"),
    (
        ("thread", "task", "process", "dummy"),
        r"\b(Thread|Task|Process|ThreadPoolExecutor|Dummy)-\d+(?:_\d+)?\b",
        r"\1-<number>",
    ),
)
_COMPILED: Final = tuple(
    (words, re.compile(pattern, re.IGNORECASE), placeholder) for words, pattern, placeholder in _PATTERNS
)
_MEASURED: Final = re.compile(
    r"(?:.*_)?(?:at|at_ns|ts|timestamp|timestamps|mtime|ctime|time_to_first_\w+|ppid|pid|thread_id"
    r"|(?:duration|elapsed|latency|took|uptime|runtime|wall_time|response_time)(?:_(?:ns|us|ms|s|sec|seconds))?)"
)
_EPOCHS: Final = frozenset({"created", "updated", "modified", "started", "finished", "expires", "date", "time", "now"})
_MIN_EPOCH_S: Final = 100_000_000  # a smaller number is a count, not seconds since 1970
_IDS: Final = frozenset(
    {"trace_id", "span_id", "parent_id", "request_id", "response_id", "system_fingerprint", "tool_call_id", "call_id"}
)
_MAX_DEPTH: Final = 64


def normal(value: Json, ignore: Collection[str] = (), depth: int = 0) -> Json:
    """Return a value with placeholders for volatile parts, without ignored members.

    Args:
        value: JSON; a text that contains JSON is normalised as JSON, so the order of its keys does
            not matter.
        ignore: Names of members to leave out, at any depth.
        depth: Levels above the value; deeper than any recorded value it is compared as text.
    """
    if isinstance(value, str):
        return _normal_text(value, ignore, depth)
    if not isinstance(value, dict | list):
        return value
    if depth >= _MAX_DEPTH:
        return json.dumps(value, sort_keys=True)
    if isinstance(value, list):
        return [normal(member, ignore, depth + 1) for member in value]
    return {
        key: _placeholder_for(key, member) or normal(member, ignore, depth + 1)
        for key, member in value.items()
        if key not in ignore
    }


def _normal_text(text: str, ignore: Collection[str], depth: int) -> str:
    if text[:1] in ("{", "[") and text[-1:] in ("}", "]") and depth < _MAX_DEPTH:
        try:
            inner = json.loads(text)
        except (ValueError, RecursionError):
            pass
        else:
            return json.dumps(normal(inner, ignore, depth + 1), sort_keys=True)
    return _without_volatile(text)


@lru_cache(maxsize=8_192)
def _without_volatile(text: str) -> str:
    """Replace volatile parts; equal texts are common, so results are cached."""
    low = text.lower()
    if "tmp" in low or "/t/" in low or "temp" in low or "/shm" in low:
        text = _TEMPORARY.sub(lambda found: _stable_end(found[1]), text)
    if _DIGIT.search(text) is None:
        return text
    for words, pattern, placeholder in _COMPILED:
        for each in words:
            if each in low:
                text = pattern.sub(placeholder, text)
                break
    return _HEX.sub(lambda found: found[0] if found[0].isdigit() or found[0].isalpha() else "<id>", text)


def _stable_end(path: str) -> str:
    """Return the stable part of a temporary path: what follows its last folder with a number."""
    parts = [part for part in re.split(r"[/\\]+", path) if part]
    folders, name = parts[1:-1], parts[-1]
    while any(_RANDOM.search(folder) for folder in folders):
        folders.pop(0)
    if len(parts) == 1 or _RANDOM.match(name) is not None:
        name = "*" + name[name.rfind(".") :] if "." in name else "*"
    return "/".join(["<temporary>", *folders, name])


@lru_cache(maxsize=8_192)
def _is_measured(key: str) -> bool:
    return _MEASURED.fullmatch(key) is not None


def _placeholder_for(key: str, value: Json) -> str | None:
    """Return the placeholder for a member that by its name is measured or generated, or None."""
    if value is None or isinstance(value, bool | dict | list):
        return None
    if _is_measured(key):
        return "<measured>"
    if key in _IDS:
        return "<id>"
    is_epoch = key in _EPOCHS and isinstance(value, int | float) and value > _MIN_EPOCH_S
    return "<time>" if is_epoch else None
