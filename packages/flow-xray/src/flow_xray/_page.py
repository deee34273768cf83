"""Build the page: one HTML file that needs no server, no network and no second file.

Theory of operation. The page is a fixed script (`_viewer.js`, built from `viewer/` and committed) and data. The
data is never HTML and never script: every block is gzip in base64 inside a `<script>` element of a type that no
browser runs, so there is no character in it that could end the element. The viewer writes text into the page by
`textContent` only. The content security policy allows the script and the style by their hashes and no
connection at all.

Blocks:

* `x-head`: JSON: totals, string tables, where the chunks begin.
* `x-cols`: one packed column per fact (`_columns`), spans in pre-order (a subtree is a range; a parent comes before
  its children).
* `x-p0..n`: what the inspector shows of the spans, about 1 MB of JSON each, inflated when it is looked at. A chunk
  keeps all inputs, then all outputs and so on, because likeness compresses: a quarter less than span by span.
* `x-v0..n`: the pooled values (messages, long texts), likewise.

The tree is ordered without recursion: a depth of 10,000 is as good as one of 10. Spans whose parents form a
ring (only a foreign file can have that) are shown as roots.
"""

import base64
import html
import json
import sys
import zlib
from array import array
from functools import cache
from hashlib import sha256
from importlib.resources import files

from flow_xray._columns import differences, planes
from flow_xray._detail import detail_of
from flow_xray._model import STATUSES, Json, Span
from flow_xray._pool import Key, pack
from flow_xray._result import TraceResult

PAGE_VERSION = 1
_CHUNK_BYTES = 1_000_000
_FACETS = ("input", "output", "error", "meta", "tags")
_HEX = frozenset("0123456789abcdef")


def build_page(trace: TraceResult) -> str:
    """Return the HTML text of a frozen trace."""
    blocks = _Blocks(trace)
    script, style = _asset("_viewer.js"), _asset("_viewer.css")
    policy = (
        f"default-src 'none'; script-src 'sha256-{_digest(script)}'; style-src 'sha256-{_digest(style)}'; "
        "img-src data:; connect-src 'none'; base-uri 'none'; form-action 'none'"
    )
    out = [
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="referrer" content="no-referrer">',
        '<meta name="color-scheme" content="light dark"><meta name="generator" content="flow-xray">\n',
        f"<title>{html.escape(_clean(trace.name))} · flow-xray</title>\n<style>{style}</style></head>\n",
        '<body><div id="app"><p class="boot">Opening the trace …',
        " <noscript>This page needs JavaScript.</noscript></p></div>\n",
    ]
    for name, content in blocks.named():
        out += [f'<script type="application/octet-stream" id="{name}">', _squeeze(content), "</script>\n"]
    out += ["<script>", script, "</script></body></html>\n"]
    return "".join(out)


class _Blocks:
    """The data of a page."""

    def __init__(self, trace: TraceResult) -> None:
        self.spans, parents = in_tree_order(trace.spans)
        self._strings: dict[str, int] = {}
        self._values: list[str] = []
        self._known: dict[str, int] = {}
        kinds: dict[str, int] = {}
        threads: dict[str, int] = {}
        first = min((span.started_at_ns for span in self.spans), default=0)
        starts: list[int] = []
        costs = array("d")
        columns: dict[str, list[int]] = {
            name: [] for name in ("duration", "parent", "name", "detail", "kind", "thread", "status", "flags")
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
            columns["detail"].append(self._string(detail_of(span)))
            columns["kind"].append(kinds.setdefault(_clean(span.kind), len(kinds)))
            columns["thread"].append(threads.setdefault(_clean(span.thread), len(threads)))
            columns["status"].append(STATUSES.index(span.status))
            columns["flags"].append(_flags(span))
            columns["input"].append(_whole(meta.get("input_tokens")))
            columns["output"].append(_whole(meta.get("output_tokens")))
            columns["cached"].append(_whole(meta.get("cache_read_tokens")))
            cost = meta.get("cost_usd")
            has_cost = isinstance(cost, int | float) and not isinstance(cost, bool)
            costs.append(float(cost) if has_cost else float("nan"))  # type: ignore[arg-type]  # checked above
            seen_until = max(seen_until, span.started_at_ns + (span.duration_ns or 0))
            payloads.append(self._payload(span))
        payload_blocks, payload_starts = _payload_chunks(payloads)
        value_blocks, value_starts = _chunks(self._values)
        packed, layout = _pack_columns({"start": differences(starts), **columns}, costs)
        ids, plain_ids = _ids(self.spans)
        head = {
            "version": PAGE_VERSION,
            "name": _clean(trace.name),
            "trace_id": trace.trace_id,
            "started_at_ns": str(first),
            "length_ns": seen_until - first,
            "count": len(self.spans),
            "meta": trace.meta,
            "value": trace.value,
            "kinds": list(kinds),
            "threads": list(threads),
            "statuses": STATUSES,
            "strings": list(self._strings),
            "columns": layout,
            "ids": plain_ids,
            "payload_starts": payload_starts,
            "value_starts": value_starts,
        }
        self._named = [("x-head", json.dumps(head).encode()), ("x-cols", packed), ("x-ids", ids)]
        self._named += [(f"x-p{index}", block) for index, block in enumerate(payload_blocks)]
        self._named += [(f"x-v{index}", block) for index, block in enumerate(value_blocks)]

    def named(self) -> list[tuple[str, bytes]]:
        """Return the blocks with the ids of their elements."""
        return self._named

    def _string(self, text: str) -> int:
        return self._strings.setdefault(_clean(text), len(self._strings))

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
        return b"", [_clean(span.id) for span in spans]
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


def _whole(value: Json) -> int:
    return value if type(value) is int and 0 <= value < 2**32 else 0


def _clean(text: str) -> str:
    """Replace lone surrogates, which no file in UTF-8 can hold."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _squeeze(content: bytes) -> str:
    squeezer = zlib.compressobj(6, zlib.DEFLATED, 31)
    return base64.b64encode(squeezer.compress(content) + squeezer.flush()).decode("ascii")


def _digest(text: str) -> str:
    return base64.b64encode(sha256(text.encode("utf-8")).digest()).decode("ascii")


@cache
def _asset(name: str) -> str:
    return files("flow_xray").joinpath(name).read_text(encoding="utf-8")
