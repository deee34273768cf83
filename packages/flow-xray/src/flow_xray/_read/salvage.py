"""Read the intact part of a damaged trace file: one that was truncated, or has invalid spans.

The members are in the order in which `_write.trace_file` writes them, the pool before the spans, so
the part before a cut can be read without the rest. Nothing is guessed: a span is read completely or
omitted, and `meta["notes"]` reports the omissions.
"""

import json
import re
from typing import Any, Final

from flow_xray._data.span import Json, Span
from flow_xray._data.trace_data import TraceData
from flow_xray._data.unpack import Pool
from flow_xray._read.bounds import check_memory, values_in
from flow_xray._read.damage import LOST
from flow_xray._read.trace_file import span_in
from flow_xray._write.trace_file import FORMAT

_SPACE: Final = re.compile(r"\s*")
_DAMAGE: Final = (KeyError, TypeError, ValueError, AttributeError, RecursionError)


def salvage(text: str) -> TraceData | None:
    """Return the trace of the intact spans.

    None when there is none, or it is another kind of file.
    """
    whole, is_cut = _members(text)
    given = whole.get("spans")
    if whole.get("format") != FORMAT or not isinstance(given, list):
        return None
    pool = Pool(len(text), LOST)
    values = whole.get("pool")
    for index, value in enumerate(values if isinstance(values, list) else ()):
        try:
            pool.add(index, value)
        except _DAMAGE:
            pool.add(index, LOST)
    spans: list[Span] = []
    damaged = 0
    for each in given:
        try:
            spans.append(span_in(each, pool))
        except _DAMAGE:
            damaged += 1
    if not spans:
        return None
    notes: list[Json] = []
    if is_cut:
        notes.append("the file is cut: the spans before the cut are shown")
    if damaged:
        notes.append(f"{damaged} {'span' if damaged == 1 else 'spans'} could not be read")
    found = _resolved(whole.get("meta"), pool)
    meta = {**(found if isinstance(found, dict) else {}), "notes": notes}
    return TraceData(
        name=str(whole.get("name", "trace")),
        spans=spans,
        value=_resolved(whole.get("value"), pool),
        meta=meta,
        trace_id=str(whole.get("trace_id", "")),
        is_frozen=True,
    )


def _resolved(value: Json, pool: Pool) -> Json:
    try:
        return pool.unpack(value)
    except _DAMAGE:
        return LOST


def _members(text: str) -> tuple[dict[str, Any], bool]:
    """Return the members of a JSON object that may be truncated, and whether it is."""
    decoder = json.JSONDecoder(parse_constant=str)
    found: dict[str, Any] = {}
    check_memory(values_in(text), "values", 90, len(text))
    at = _after(text, 0, "{")
    try:
        while True:
            key, at = decoder.raw_decode(text, _after(text, at))
            at = _after(text, at, ":")
            if text[at : at + 1] == "[":
                items = found[key] = []
                at = _after(text, at, "[")
                while text[at : at + 1] != "]":
                    item, at = decoder.raw_decode(text, at)
                    items.append(item)
                    at = _after(text, at)
                    if text[at : at + 1] == ",":
                        at = _after(text, at, ",")
                at += 1
            else:
                found[key], at = decoder.raw_decode(text, at)
            at = _after(text, at)
            if text[at : at + 1] == "}":
                return found, False
            at = _after(text, at, ",")
    except (ValueError, RecursionError, TypeError):
        return found, True


def _after(text: str, at: int, mark: str = "") -> int:
    """Return the position after a mark and the space around it.

    Raises:
        ValueError: Something else is there.
    """
    at = _SPACE.match(text, at).end()  # type: ignore[union-attr]  # the pattern also matches nothing
    if not text.startswith(mark, at):
        raise ValueError(mark)
    return _SPACE.match(text, at + len(mark)).end()  # type: ignore[union-attr]  # as above
