"""The data of a page: packed columns, string tables, and values in chunks.

The name of a block begins with a letter for its trace: `x-` for the trace of the page, `y-` for the
one that it is compared with.

* `x-head`: JSON: names, string tables, facts for the overview that need every value, starts of the
  chunks.
* `x-cols`: one packed column for each fact (module `columns`), spans in pre-order: a subtree is a
  range, and a parent comes before its children.
* `x-ids`: the ids, as differences in planes of bytes.
* `x-det`: the short text next to each name, each different one once, one per line; the page decodes
  only those that it draws.
* `x-p0..n`: the values of the spans for the inspector, about 1 MB of JSON each, inflated when
  needed. A chunk has all inputs, then all outputs and so on, because similar values compress well:
  a quarter less than span by span.
* `x-v0..n`: the pooled values (messages, long texts), likewise.
"""

import json
import math
import sys
from array import array

from flow_xray._data.detail import detail_of
from flow_xray._data.order import in_tree_order
from flow_xray._data.pool import Key, pack
from flow_xray._data.span import STATUSES, Json, Span
from flow_xray._data.trace_data import TraceData
from flow_xray._write.page.columns import differences, planes

PAGE_VERSION = 2
_CHUNK_BYTES = 1_000_000
_FACETS = ("input", "output", "error", "meta", "tags")
_HEX = frozenset("0123456789abcdef")
_MAX_REPEATS = 40


class Blocks:
    """The data of one trace.

    Args:
        trace: Frozen.
        letter: The first letter of the names of its blocks.
    """

    def __init__(self, trace: TraceData, letter: str = "x") -> None:
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
        last_end = first
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
            last_end = max(last_end, span.started_at_ns + (span.duration_ns or 0))
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
            "length_ns": last_end - first,
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
        """Return the JSON of each facet of a span; a missing one is null."""
        put = self._put
        facets: tuple[Json, ...] = (
            pack(span.input, put),
            pack(span.output, put),
            None if span.error is None else pack(dict(span.error), put),
            {key: pack(value, put) for key, value in span.meta.items()} or None,
            [pack(dict(tag), put) for tag in span.tags] or None,
        )
        return tuple("null" if facet is None else json.dumps(facet, separators=(",", ":")) for facet in facets)


def repeats(spans: list[Span], payloads: list[tuple[str, ...]]) -> list[list[int]]:
    """Return [first span, calls, nanoseconds] of calls with equal name, kind and input.

    Model calls and calls without arguments are left out: their input rarely determines their
    result.
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
    repeated = [each for each in seen.values() if each[1] > 1]
    repeated.sort(key=lambda each: (-each[2], -each[1], each[0]))
    return repeated[:_MAX_REPEATS]


def _chunks(texts: list[str]) -> tuple[list[bytes], list[int]]:
    """Split JSON texts into arrays of about 1 MB.

    Return them and the number of the first text of each.
    """
    blocks: list[bytes] = []
    starts: list[int] = []
    chunk: list[str] = []
    size = 0
    for index, text in enumerate(texts):
        if not chunk:
            starts.append(index)
        chunk.append(text)
        size += len(text)
        if size >= _CHUNK_BYTES:
            blocks.append(("[" + ",".join(chunk) + "]").encode())
            chunk, size = [], 0
    if chunk:
        blocks.append(("[" + ",".join(chunk) + "]").encode())
    return blocks, starts


def _payload_chunks(payloads: list[tuple[str, ...]]) -> tuple[list[bytes], list[int]]:
    """Split payloads into objects of about 1 MB, one array for each facet.

    Return them and their first spans.
    """
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
    """Join the columns.

    Return the bytes and [name, number of planes (0: 8-byte floats), offset] for each.
    """
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
    """Return the differences of the ids in 8 planes, or the ids when one is not 16 hex digits."""
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
    is_propagated = span.error is not None and "origin" in span.error
    return has_tokens | (span.error is not None) << 1 | is_propagated << 2


def _cost(value: Json) -> float:
    """Return a cost, or NaN for anything else (also for an integer too large for a float)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan


def _whole(value: Json) -> int:
    return value if type(value) is int and 0 <= value < 2**32 else 0


def clean(text: str) -> str:
    """Replace lone surrogates, which UTF-8 cannot encode."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
