"""What two runs of the same program may differ in without having behaved differently.

Only a comparison looks at values in this way; what is recorded is never rewritten. Each pattern is as narrow as what it
stands for: a number is a duration only with a unit and a point, or with a word before it; a port only behind a local
host, or among those that the system gives away; and of a temporary path the stable end is compared.
"""

import json
import re
from collections.abc import Collection
from typing import Final

from flow_xray._model import Json

_UNIT: Final = r"(?:ns|µs|us|ms|s|secs?|seconds?|milliseconds?|minutes?)"
_TEMPORARY: Final = re.compile(
    r"""(?:(?:/private)?/(?:tmp|var/tmp|var/folders/\w+/\w+/T|dev/shm)|[A-Za-z]:\\{1,2}(?:[^\s"'<>\\]+\\{1,2})*?Temp)"""
    r"""[/\\]+([^\s"'<>,;)\]}]+)"""
)
_RANDOM: Final = re.compile(r"\d|^tmp\w{8}")
_PATTERNS: Final = (
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.IGNORECASE), "<uuid>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z| ?[+-]\d\d:?\d\d| UTC)?"), "<time>"),
    (re.compile(r"\b\w{3}, \d\d? \w{3} \d{4} \d\d:\d\d:\d\d (?:GMT|[+-]\d{4})"), "<time>"),
    (re.compile(r"\b\d\d:\d\d:\d\d(?:[.,]\d+)?\b"), "<time>"),
    (re.compile(r"\b0x[0-9a-f]{6,}\b", re.IGNORECASE), "<address>"),
    (re.compile(r"\b(?:call|toolu|msg|chatcmpl|resp|req|run|fc|rs)[_-](?=[A-Za-z0-9]*\d)[A-Za-z0-9]{8,}\b"), "<id>"),
    (
        re.compile(r"\b(?=[0-9]*[a-f])(?=[a-f]*[0-9])[0-9a-f]{12,}\b|\b(?=[0-9]*[A-F])(?=[A-F]*[0-9])[0-9A-F]{12,}\b"),
        "<id>",
    ),
    (re.compile(rf"\b\d+\.\d+ ?{_UNIT}\b"), "<duration>"),
    (
        re.compile(rf"\b(took|in|after|elapsed|duration|latency)([:= ]+)\d+ ?{_UNIT}\b", re.IGNORECASE),
        r"\1\2<duration>",
    ),
    (re.compile(r"(\blocalhost|\b127\.0\.0\.1|\b0\.0\.0\.0|\[::1?\]):\d{4,5}\b"), r"\1:<port>"),
    (re.compile(r"\b(port)([:= ]+)(?:3[3-9]|[45]\d|6[0-5])\d{3}\b", re.IGNORECASE), r"\1\2<port>"),
    (re.compile(r"\b(pid|process)([:= ]+)\d+\b", re.IGNORECASE), r"\1\2<pid>"),
    (re.compile(r"\b(Thread|Task|Process|ThreadPoolExecutor|Dummy)-\d+(?:_\d+)?\b"), r"\1-<number>"),
)
_MEASURED: Final = re.compile(
    r"(?:.*_)?(?:at|at_ns|ts|timestamp|timestamps|mtime|ctime|time_to_first_\w+|ppid|pid|thread_id"
    r"|(?:duration|elapsed|latency|took|uptime|runtime|wall_time|response_time)(?:_(?:ns|us|ms|s|sec|seconds))?)"
)
_EPOCHS: Final = frozenset({"created", "updated", "modified", "started", "finished", "expires", "date", "time", "now"})
_OLDEST: Final = 100_000_000  # smaller numbers are counts, not seconds since 1970
_IDS: Final = frozenset(
    {"trace_id", "span_id", "parent_id", "request_id", "response_id", "system_fingerprint", "tool_call_id", "call_id"}
)
_DEEP: Final = 64


def normal(value: Json, ignore: Collection[str] = (), depth: int = 0) -> Json:
    """Return a value with what changes from run to run replaced by a word, and ignored members left out.

    Args:
        value: JSON; a text that holds JSON is normalised as such, so the order of its keys does not count.
        ignore: names of members that do not count, at any depth.
        depth: levels above; what is deeper than any recorded value is compared as its text.
    """
    if isinstance(value, str):
        return _normal_text(value, ignore, depth)
    if not isinstance(value, dict | list):
        return value
    if depth >= _DEEP:
        return json.dumps(value, sort_keys=True)
    if isinstance(value, list):
        return [normal(member, ignore, depth + 1) for member in value]
    return {
        key: _word_for(key, member) or normal(member, ignore, depth + 1)
        for key, member in value.items()
        if key not in ignore
    }


def _normal_text(text: str, ignore: Collection[str], depth: int) -> str:
    if text[:1] in ("{", "[") and text[-1:] in ("}", "]") and depth < _DEEP:
        try:
            inner = json.loads(text)
        except (ValueError, RecursionError):
            pass
        else:
            return json.dumps(normal(inner, ignore, depth + 1), sort_keys=True)
    text = _TEMPORARY.sub(lambda found: _stable_end(found[1]), text)
    for pattern, word in _PATTERNS:
        text = pattern.sub(word, text)
    return text


def _stable_end(path: str) -> str:
    """Return what stays of a temporary path: everything behind the last folder with a number in its name."""
    parts = [part for part in re.split(r"[/\\]+", path) if part]
    folders, name = parts[1:-1], parts[-1]
    while any(_RANDOM.search(folder) for folder in folders):
        folders.pop(0)
    if len(parts) == 1 or _RANDOM.match(name) is not None:
        name = "*" + name[name.rfind(".") :] if "." in name else "*"
    return "/".join(["<temporary>", *folders, name])


def _word_for(key: str, value: Json) -> str | None:
    """Return the word for a member whose name says that its value is measured or made up anew."""
    if value is None or isinstance(value, bool | dict | list):
        return None
    if _MEASURED.fullmatch(key) is not None:
        return "<measured>"
    if key in _IDS:
        return "<id>"
    is_epoch = key in _EPOCHS and isinstance(value, int | float) and value > _OLDEST
    return "<time>" if is_epoch else None
