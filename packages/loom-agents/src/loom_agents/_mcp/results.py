"""Turn what an MCP server answered into the payload of a tool call: plain JSON that a model can
read.

Structured content comes first; text is used as it is; images and sound are stored outside the run,
and only named. A server may send its structured content a second time as text; that copy is left
out.
"""

import base64
import binascii
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, Protocol

from loom_agents._models.messages import storable

if TYPE_CHECKING:
    from mcp_types import CallToolResult

__all__ = ["MAX_TEXT", "Blobs", "error_text", "payload_of"]

MAX_TEXT: Final = 60_000
"""Characters of one answer that go to the model; all of it is stored as a blob."""


class Blobs(Protocol):
    """Store bytes that do not belong in a conversation. `BlobFolder` stores them on disk."""

    def keep(self, data: bytes, mime_type: str) -> dict[str, Any]:
        """Store bytes; return, as JSON, what they are and where."""
        ...


def payload_of(result: "CallToolResult", blobs: Blobs) -> Any:
    """Return the payload of a call that succeeded."""
    has_structure = result.structured_content is not None
    texts, others = _parts(result.content, blobs)
    if has_structure:
        payload = _cut(result.structured_content, blobs)
        return payload if not others else {"result": payload, "blobs": others}
    text = "\n".join(texts)
    return _cut(text, blobs) if not others else {"text": _cut(text, blobs), "blobs": others}


def error_text(result: "CallToolResult") -> str:
    """Return what a server says about a call that failed."""
    texts = [block.text for block in result.content if block.type == "text"]
    return storable("\n".join(texts).strip())[:4000] or "the server gave no reason"


def _parts(content: Iterable[Any], blobs: Blobs) -> tuple[list[str], list[dict[str, Any]]]:
    texts: list[str] = []
    others: list[dict[str, Any]] = []
    for block in content:
        if block.type == "text":
            texts.append(storable(block.text))
        elif block.type in ("image", "audio"):
            others.append(_kept(block.data, block.mime_type, blobs))
        elif block.type == "resource_link":
            others.append({"uri": str(block.uri), "name": block.name, "mime_type": block.mime_type})
        elif hasattr(block.resource, "text"):
            texts.append(storable(block.resource.text))
        else:
            mime_type = block.resource.mime_type or "application/octet-stream"
            others.append({"uri": str(block.resource.uri), **_kept(block.resource.blob, mime_type, blobs)})
    return texts, others


def _kept(data: str, mime_type: str, blobs: Blobs) -> dict[str, Any]:
    try:
        return blobs.keep(base64.b64decode(data, validate=True), mime_type)
    except binascii.Error:
        return {"mime_type": mime_type, "error": "the server's data is not base64"}


def _cut(value: Any, blobs: Blobs) -> Any:
    """Return the value, or, when it is too long for a model, its beginning and where all of it
    is.
    """
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if len(text) <= MAX_TEXT:
        return value
    whole = blobs.keep(text.encode("utf-8", "replace"), "text/plain" if isinstance(value, str) else "application/json")
    return {"text": text[:MAX_TEXT], "truncated": True, "total_characters": len(text), "whole": whole}
