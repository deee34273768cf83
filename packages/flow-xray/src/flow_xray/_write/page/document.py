"""Build the page: one HTML file that needs no server, no network and no second file.

Theory of operation. The page is a fixed script (`viewer.js`, built from `viewer/` and committed)
and data. The data is never HTML and never script: every block is gzip in base64 inside a `<script>`
element of a type that no browser runs, so no character in it can end the element. The viewer writes
text into the page by `textContent` only. The content security policy allows the script and the
style by their hashes, and no connection; it allows no worker either (docs/design/0004).

Blocks: those of the trace (module `blocks`); `x-ctx` with the coverage of its source, when it is
given; and, in a page that compares, those of the earlier trace and `x-diff` with the rows of the
comparison (module `_compare.diff_page`).
"""

import base64
import html
import json
import zlib
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING

from flow_xray._data.span import Json
from flow_xray._data.trace_data import TraceData
from flow_xray._write.page.blocks import Blocks

if TYPE_CHECKING:
    from collections.abc import Callable


def build_page(
    trace: TraceData,
    context: Mapping[str, Json] | None = None,
    other: TraceData | None = None,
    rows: "Callable[[Blocks, Blocks], Json] | None" = None,
) -> str:
    """Return the HTML text of a frozen trace.

    Args:
        trace: The trace of the page.
        context: The coverage of the source: "nodes" (id, name, file, line, executed), "edges"
            (from, to, how: executed, possible or runtime) and "branches" (file, line, text, taken).
        other: An earlier, frozen trace that this one is compared with.
        rows: Returns the rows of the comparison, given the blocks of the earlier and of the later
            trace.
    """
    blocks = Blocks(trace)
    named = blocks.named()
    if context is not None:
        named = [*named, ("x-ctx", json.dumps(context).encode())]
    if other is not None and rows is not None:
        before = Blocks(other, "y")
        named = [*named, *before.named(), ("x-diff", json.dumps(rows(before, blocks)).encode())]
    script, style = _asset("viewer.js"), _asset("viewer.css")
    policy = (
        f"default-src 'none'; script-src 'sha256-{_digest(script)}'; style-src 'sha256-{_digest(style)}'; "
        "img-src data:; connect-src 'none'; base-uri 'none'; form-action 'none'"
    )
    title = trace.name if other is None else f"{other.name} → {trace.name}"
    out = [
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="referrer" content="no-referrer">',
        '<meta name="color-scheme" content="light dark"><meta name="generator" content="flow-xray">\n',
        f"<title>{html.escape(_printable(title))} · flow-xray</title>\n<style>{style}</style></head>\n",
        '<body><div id="app"><p class="boot">Opening the trace …',
        " <noscript>This page needs JavaScript.</noscript></p></div>\n",
    ]
    for name, content in named:
        out += [f'<script type="application/octet-stream" id="{name}">', _compressed(content), "</script>\n"]
    out += ["<script>", script, "</script></body></html>\n"]
    return "".join(out)


def _printable(text: str) -> str:
    """Replace control characters and lone surrogates in the title, which no script processes."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def _compressed(content: bytes) -> str:
    compressor = zlib.compressobj(6, zlib.DEFLATED, 31)
    return base64.b64encode(compressor.compress(content) + compressor.flush()).decode("ascii")


def _digest(text: str) -> str:
    return base64.b64encode(sha256(text.encode("utf-8")).digest()).decode("ascii")


@cache
def _asset(name: str) -> str:
    return files("flow_xray._write.page").joinpath(name).read_text(encoding="utf-8")
