"""The data of a page: packed columns, string tables, and values in chunks.

Every name of a block begins with a letter for the trace it belongs to: `x-` for the trace of the page, `y-` for the
one it is compared with.

* `x-head`: JSON: names, string tables, the facts for the overview that need every value, where the chunks begin.
* `x-cols`: one packed column per fact (`_columns`), spans in pre-order (a subtree is a range; a parent comes before
  its children).
* `x-ids`: the ids, as differences in planes of bytes.
* `x-det`: the line beside each name, each different one once, a line each; the page decodes only those it draws.
* `x-p0..n`: what the inspector shows of the spans, about 1 MB of JSON each, inflated when it is looked at. A chunk
  keeps all inputs, then all outputs and so on, because likeness compresses: a quarter less than span by span.
* `x-v0..n`: the pooled values (messages, long texts), likewise.

The tree is ordered without recursion: a depth of 10,000 is as good as one of 10. Spans whose parents form a
ring (only a foreign file can have that) are shown as roots.
"""

import json
import math
import sys
from array import array

from flow_xray._columns import differences, planes
from flow_xray._detail import detail_of
from flow_xray._model import STATUSES, Json, Span
from flow_xray._pool import Key, pack
from flow_xray._result import TraceResult

PAGE_VERSION = 2
_CHUNK_BYTES = 1_000_000
_FACETS = ("input", "output", "error", "meta", "tags")
_HEX = frozenset("0123456789abcdef")
_MOST_REPEATS = 40


class Blocks:
    """The data of one trace.

    Args:
        trace: frozen.
        letter: the first of the names of its blocks.
    """

    def __init__(self, trace: TraceResult, letter: str = "x") -> None:
        self.spans, self.parents = in_tree_order(trace.spans)
        parents = self.parents
        self._strings: dict[str, int] = {}
        details: dict[str, int] = {}
        models: dict[str, int] = {}
        codes: dict[str, int] = {"": 0}
        self._values: list[str] = []
        self._known: dict[str, int] = {}
        kinds: dict[str, int] = {}
        threads: dict[str, int] = {}
        first = min((span.started_at_ns for span in self.spans), default=0)
        starts: list[int] = []
        costs = array("d")
        columns: dict[str, list[int]] = {
            name: []
            for name in ("duration", "parent", "name", "detail", "kind", "thread", "model", "code", "status", "flags")
        }
        columns |= {"input": [], "output": [], "cached": []}
        payloads: list[tuple[str, ...]] = []
        seen_until = first
        for index, (span, parent) in enumerate(zip(self.spans, parents, strict=True)):
            meta = span.meta
            starts.append(span.started_at_ns - first)
            columns["duration"].append(0 if span.duration_ns is None else max(0, span.duration_ns) + 1)
            columns["parent"].append(index - parent if parent >= 0 else 0)
            columns["name"].append(self._string(span.name))
            columns["detail"].append(details.setdefault(clean(detail_of(span)), len(details)))
            columns["kind"].append(kinds.setdefault(clean(span.kind), len(kinds)))
            columns["thread"].append(threads.setdefault(clean(span.thread), len(threads)))
            model = meta.get("model")
            named = clean(model) if isinstance(model, str) else ""
            columns["model"].append(models.setdefault(named, len(models) + 1) if named else 0)
            columns["code"].append(codes.setdefault(clean(span.code), len(codes)))
            columns["status"].append(STATUSES.index(span.status))
            columns["flags"].append(_flags(span))
            columns["input"].append(_whole(meta.get("input_tokens")))
            columns["output"].append(_whole(meta.get("output_tokens")))
            columns["cached"].append(_whole(meta.get("cache_read_tokens")))
            costs.append(_cost(meta.get("cost_usd")))
            seen_until = max(seen_until, span.started_at_ns + (span.duration_ns or 0))
            payloads.append(self._payload(span))
        payload_blocks, payload_starts = _payload_chunks(payloads)
        value_blocks, value_starts = _chunks(self._values)
        packed, layout = _pack_columns({"start": differences(starts), **columns}, costs)
        ids, plain_ids = _ids(self.spans)
        head = {
            "version": PAGE_VERSION,
            "name": clean(trace.name),
            "trace_id": trace.trace_id,
            "started_at_ns": str(first),
            "length_ns": seen_until - first,
            "count": len(self.spans),
            "meta": trace.meta,
            "value": trace.value,
            "kinds": list(kinds),
            "threads": list(threads),
            "statuses": STATUSES,
            "models": list(models),
            "codes": list(codes),
            "strings": list(self._strings),
            "repeats": repeats(self.spans, payloads),
            "columns": layout,
            "ids": plain_ids,
            "payload_starts": payload_starts,
            "value_starts": value_starts,
        }
        self._named = [
            (f"{letter}-head", json.dumps(head).encode()),
            (f"{letter}-cols", packed),
            (f"{letter}-ids", ids),
            (f"{letter}-det", "\n".join(details).encode()),
        ]
        self._named += [(f"{letter}-p{index}", block) for index, block in enumerate(payload_blocks)]
        self._named += [(f"{letter}-v{index}", block) for index, block in enumerate(value_blocks)]

    def named(self) -> list[tuple[str, bytes]]:
        """Return the blocks with the ids of their elements."""
        return self._named

    def _string(self, text: str) -> int:
        return self._strings.setdefault(clean(text), len(self._strings))

    def _put(self, value: Json) -> Key:
        text = json.dumps(value, separators=(",", ":"))
        key = self._known.setdefault(text, len(self._values))
        if key == len(self._values):
            self._values.append(text)
        return key

    def _payload(self, span: Span) -> tuple[str, ...]:
        """Return the JSON of each facet of a span; what is not there is null."""
        put = self._put
        facets: tuple[Json, ...] = (
            pack(span.input, put),
            pack(span.output, put),
            None if span.error is None else pack(dict(span.error), put),
            {key: pack(value, put) for key, value in span.meta.items()} or None,
            [pack(dict(tag), put) for tag in span.tags] or None,
        )
        return tuple("null" if facet is None else json.dumps(facet, separators=(",", ":")) for facet in facets)


def in_tree_order(spans: list[Span]) -> "tuple[list[Span], array[int]]":
    """Return the spans in pre-order, siblings by start time, and the position of each one's parent (-1 for a root)."""
    position = {span.id: index for index, span in enumerate(spans)}
    below: dict[int, list[int]] = {}
    for index, span in enumerate(spans):
        parent = -1 if span.parent_id is None else position.get(span.parent_id, -1)
        below.setdefault(-1 if parent == index else parent, []).append(index)
    for siblings in below.values():
        siblings.sort(key=lambda index: spans[index].started_at_ns)
    ordered: list[Span] = []
    parents = array("i")
    taken = bytearray(len(spans))
    left = iter(range(len(spans)))
    stack = [(index, -1) for index in reversed(below.get(-1, []))]
    while stack or len(ordered) < len(spans):
        if not stack:
            stack.append((next(index for index in left if not taken[index]), -1))
        index, parent = stack.pop()
        if taken[index]:
            continue
        taken[index] = 1
        here = len(ordered)
        ordered.append(spans[index])
        parents.append(parent)
        stack.extend((child, here) for child in reversed(below.get(index, [])))
    return ordered, parents


def repeats(spans: list[Span], payloads: list[tuple[str, ...]]) -> list[list[int]]:
    """Return [first span, calls, nanoseconds together] of calls with equal name, kind and input, most time first.

    Model calls and calls without arguments are left out: what they are given is rarely the whole of what they do.
    """
    seen: dict[int, list[int]] = {}
    for index, span in enumerate(spans):
        given = payloads[index][0]
        if span.kind == "llm" or given in ("null", "{}", "[]"):
            continue
        key = hash((span.name, span.kind, given))
        found = seen.setdefault(key, [index, 0, 0])
        if found[1]:
            first = spans[found[0]]
            if (first.name, first.kind, payloads[found[0]][0]) != (span.name, span.kind, given):
                continue  # another call with the same hash
        found[1] += 1
        found[2] += span.duration_ns or 0
    often = [each for each in seen.values() if each[1] > 1]
    often.sort(key=lambda each: (-each[2], -each[1], each[0]))
    return often[:_MOST_REPEATS]


def _chunks(texts: list[str]) -> tuple[list[bytes], list[int]]:
    """Cut JSON texts into arrays of about 1 MB; return them and the number of the first text of each."""
    blocks: list[bytes] = []
    starts: list[int] = []
    held: list[str] = []
    size = 0
    for index, text in enumerate(texts):
        if not held:
            starts.append(index)
        held.append(text)
        size += len(text)
        if size >= _CHUNK_BYTES:
            blocks.append(("[" + ",".join(held) + "]").encode())
            held, size = [], 0
    if held:
        blocks.append(("[" + ",".join(held) + "]").encode())
    return blocks, starts


def _payload_chunks(payloads: list[tuple[str, ...]]) -> tuple[list[bytes], list[int]]:
    """Cut payloads into objects of about 1 MB, one array for each facet; return them and the first span of each."""
    blocks: list[bytes] = []
    starts: list[int] = []
    first = size = 0
    for index, facets in enumerate(payloads):
        size += sum(map(len, facets))
        if size >= _CHUNK_BYTES or index == len(payloads) - 1:
            columns = zip(*payloads[first : index + 1], strict=True)
            named = (f'"{name}":[{",".join(column)}]' for name, column in zip(_FACETS, columns, strict=True))
            blocks.append(("{" + ",".join(named) + "}").encode())
            starts.append(first)
            first, size = index + 1, 0
    return blocks, starts


def _pack_columns(columns: dict[str, list[int]], costs: "array[float]") -> tuple[bytes, list[list[str | int]]]:
    """Join the columns; return the bytes and [name, number of planes (0: 8-byte floats), offset] for each."""
    if sys.byteorder == "big":
        costs.byteswap()
    packed = bytearray(costs.tobytes())
    layout: list[list[str | int]] = [["cost", 0, 0]]
    for name, column in columns.items():
        content, count = planes(column)
        layout.append([name, count, len(packed)])
        packed += content
    return bytes(packed), layout


def _ids(spans: list[Span]) -> tuple[bytes, list[str] | None]:
    """Return the differences of the ids in 8 planes, or the ids as they are when one is not 16 hex digits."""
    if not all(len(span.id) == 16 and _HEX.issuperset(span.id) for span in spans):
        return b"", [clean(span.id) for span in spans]
    last = 0
    steps = array("Q")
    for span in spans:
        value = int(span.id, 16)
        steps.append((value - last) & 0xFFFF_FFFF_FFFF_FFFF)
        last = value
    if sys.byteorder == "big":
        steps.byteswap()
    raw = steps.tobytes()
    return b"".join(raw[k::8] for k in range(8)), None


def _flags(span: Span) -> int:
    has_tokens = "input_tokens" in span.meta or "output_tokens" in span.meta
    is_passed_on = span.error is not None and "origin" in span.error
    return has_tokens | (span.error is not None) << 1 | is_passed_on << 2


def _cost(value: Json) -> float:
    """Return a cost, or NaN for what is none (or a whole number that no float can hold)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan


def _whole(value: Json) -> int:
    return value if type(value) is int and 0 <= value < 2**32 else 0


def clean(text: str) -> str:
    """Replace lone surrogates, which no file in UTF-8 can hold."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
