"""Build the page: one HTML file that needs no server, no network and no second file.

Theory of operation. The page is a fixed script (`_viewer.js`, built from `viewer/` and committed) and data. The
data is never HTML and never script: every block is gzip in base64 inside a `<script>` element of a type that no
browser runs, so there is no character in it that could end the element. The viewer writes text into the page by
`textContent` only. The content security policy allows the script and the style by their hashes and no
connection at all; it allows no worker either (docs/design/0004).

Blocks: those of the trace (`_page_blocks`); `x-ctx` with the static context of its source, when there is one; and, in
a page that compares, those of the earlier trace and `x-diff` with the rows of the comparison (`_diff_page`).
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

from flow_xray._model import Json
from flow_xray._page_blocks import Blocks, in_tree_order
from flow_xray._result import TraceResult

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["build_page", "in_tree_order"]


def build_page(
    trace: TraceResult,
    context: Mapping[str, Json] | None = None,
    other: TraceResult | None = None,
    rows: "Callable[[Blocks, Blocks], Json] | None" = None,
) -> str:
    """Return the HTML text of a frozen trace.

    Args:
        trace: what the page shows.
        context: what the source says: "nodes" (id, name, file, line, executed), "edges" (from, to, how: executed,
            possible or runtime) and "branches" (file, line, text, taken).
        other: an earlier, frozen trace that this one is compared with.
        rows: makes the rows of the comparison from the blocks of the earlier and of the later trace.
    """
    blocks = Blocks(trace)
    named = blocks.named()
    if context is not None:
        named = [*named, ("x-ctx", json.dumps(context).encode())]
    if other is not None and rows is not None:
        before = Blocks(other, "y")
        named = [*named, *before.named(), ("x-diff", json.dumps(rows(before, blocks)).encode())]
    script, style = _asset("_viewer.js"), _asset("_viewer.css")
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
        out += [f'<script type="application/octet-stream" id="{name}">', _squeeze(content), "</script>\n"]
    out += ["<script>", script, "</script></body></html>\n"]
    return "".join(out)


def _printable(text: str) -> str:
    """Keep control characters and lone surrogates out of what no script looks at."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def _squeeze(content: bytes) -> str:
    squeezer = zlib.compressobj(6, zlib.DEFLATED, 31)
    return base64.b64encode(squeezer.compress(content) + squeezer.flush()).decode("ascii")


def _digest(text: str) -> str:
    return base64.b64encode(sha256(text.encode("utf-8")).digest()).decode("ascii")


@cache
def _asset(name: str) -> str:
    return files("flow_xray").joinpath(name).read_text(encoding="utf-8")
