"""What two runs of the same program may differ in without having behaved differently.

Only a comparison looks at values in this way; what is recorded is never rewritten.
"""

import json
import re
from collections.abc import Collection
from typing import Final

from flow_xray._model import Json

_PATTERNS: Final = (
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.IGNORECASE), "<uuid>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?"), "<time>"),
    (re.compile(r"\b0x[0-9a-f]{6,}\b", re.IGNORECASE), "<address>"),
    (re.compile(r"(?:/private)?/(?:tmp|var/folders)/[^\s\"'<>]+"), "<temporary path>"),
    (re.compile(r"\b(?:call|toolu|msg|chatcmpl|resp|req)[_-](?=[A-Za-z0-9]*\d)[A-Za-z0-9]{8,}\b"), "<call id>"),
)
_TIMES: Final = re.compile(r"(?:.*_)?(?:at|at_ns|timestamp|duration_ms|duration_ns|elapsed_s|latency_ms)")
_DEEP: Final = 64


def normal(value: Json, ignore: Collection[str] = (), depth: int = 0) -> Json:
    """Return a value with ids, times, addresses and temporary paths replaced by a word, and ignored members left out.

    Args:
        value: JSON.
        ignore: names of members that do not count, at any depth.
        depth: levels above; what is deeper than any recorded value is compared as its text.
    """
    if isinstance(value, str):
        for pattern, word in _PATTERNS:
            value = pattern.sub(word, value)
        return value
    if not isinstance(value, dict | list):
        return value
    if depth >= _DEEP:
        return json.dumps(value, sort_keys=True)
    if isinstance(value, list):
        return [normal(member, ignore, depth + 1) for member in value]
    return {
        key: "<time>" if _is_time(key, member) else normal(member, ignore, depth + 1)
        for key, member in value.items()
        if key not in ignore
    }


def _is_time(key: str, value: Json) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool) and _TIMES.fullmatch(key) is not None
