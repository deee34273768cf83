"""Read what is whole of a damaged trace file `flow-xray/1`: of one that was cut, or in which some spans make no sense.

The members stand in the order in which `_trace_json` writes them, the pool before the spans; so what comes before a cut
can be read without the rest. Nothing is guessed: a span is read whole or left out, and what is left out is said in
`meta["notes"]`.
"""

import json
import re
from typing import Any, Final

from flow_xray._journal_read import LOST
from flow_xray._model import Json, Span
from flow_xray._pool import Key, unpack
from flow_xray._result import TraceResult
from flow_xray._trace_json import FORMAT, span_in

_SPACE: Final = re.compile(r"\s*")
_TROUBLE: Final = (KeyError, TypeError, ValueError, AttributeError, RecursionError)


class _Pool(dict[Key, Json]):
    def __missing__(self, key: Key) -> Json:
        return LOST


def salvage(text: str) -> TraceResult | None:
    """Return the trace of the spans that are whole; None when there is no such span or no such file."""
    whole, is_cut = _members(text)
    given = whole.get("spans")
    if whole.get("format") != FORMAT or not isinstance(given, list):
        return None
    pool = _Pool()
    values = whole.get("pool")
    for index, value in enumerate(values if isinstance(values, list) else ()):
        pool[index] = _resolved(value, pool)
    spans: list[Span] = []
    bad = 0
    for each in given:
        try:
            spans.append(span_in(each, pool))
        except _TROUBLE:
            bad += 1
    if not spans:
        return None
    notes: list[Json] = []
    if is_cut:
        notes.append("the file is cut: the spans before the cut are shown")
    if bad:
        notes.append(f"{bad} {'span' if bad == 1 else 'spans'} could not be read")
    found = _resolved(whole.get("meta"), pool)
    meta = {**(found if isinstance(found, dict) else {}), "notes": notes}
    return TraceResult(
        name=str(whole.get("name", "trace")),
        spans=spans,
        value=_resolved(whole.get("value"), pool),
        meta=meta,
        trace_id=str(whole.get("trace_id", "")),
        is_frozen=True,
    )


def _resolved(value: Json, pool: _Pool) -> Json:
    try:
        return unpack(value, pool)
    except _TROUBLE:
        return LOST


def _members(text: str) -> tuple[dict[str, Any], bool]:
    """Return the members of the object in a text up to where it stops being JSON, and whether it does."""
    decoder = json.JSONDecoder(parse_constant=str)
    found: dict[str, Any] = {}
    at = _after(text, 0, "{")
    try:
        while True:
            key, at = decoder.raw_decode(text, _SPACE.match(text, at).end())  # type: ignore[union-attr]  # it matches nothing, too
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
    """Return the place behind a mark and the space around it.

    Raises:
        ValueError: something else is there.
    """
    at = _SPACE.match(text, at).end()  # type: ignore[union-attr]  # it matches nothing, too
    if not text.startswith(mark, at):
        raise ValueError(mark)
    return _SPACE.match(text, at + len(mark)).end()  # type: ignore[union-attr]  # as above
