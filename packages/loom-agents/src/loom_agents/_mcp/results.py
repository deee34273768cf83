"""Convert the result of an MCP server to the payload of a tool call: JSON for a model.

Structured content takes precedence over text: servers that send it often repeat it as text, and
that copy is left out. Images and audio are stored next to the run; the payload only refers to them.
"""

import base64
import binascii
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, Protocol

from loom_agents._models.messages import storable

if TYPE_CHECKING:
    from mcp_types import CallToolResult

__all__ = ["MAX_TEXT", "Blobs", "error_text", "payload_of", "shortened"]

MAX_TEXT: Final = 60_000
"""The most characters of one result that go to the model; the full text is stored as a blob."""

_MAX_REASON: Final = 4000


class Blobs(Protocol):
    """Store content that is too large for a conversation. `BlobFolder` stores it on disk."""

    def keep(self, data: bytes, mime_type: str) -> dict[str, Any]:
        """Store bytes and return a JSON object that describes them."""
        ...


def payload_of(result: "CallToolResult", blobs: Blobs) -> Any:
    """Return the payload of a call that succeeded."""
    texts, others = _split(result.content, blobs)
    if result.structured_content is not None:
        payload = _truncate(result.structured_content, blobs)
        return payload if not others else {"result": payload, "blobs": others}
    text = _truncate("\n".join(texts), blobs)
    return text if not others else {"text": text, "blobs": others}


def error_text(result: "CallToolResult") -> str:
    """Return the server's error text of a call that failed."""
    texts = [block.text for block in result.content if block.type == "text"]
    return shortened("\n".join(texts).strip()) or "the server gave no reason"


def shortened(text: str) -> str:
    """Return the beginning of what a server says when it cannot do something."""
    return storable(text[:_MAX_REASON])


def _split(content: Iterable[Any], blobs: Blobs) -> tuple[list[str], list[dict[str, Any]]]:
    """Split content into its texts and descriptions of everything else."""
    texts: list[str] = []
    others: list[dict[str, Any]] = []
    for block in content:
        if block.type == "text":
            texts.append(storable(block.text))
        elif block.type in ("image", "audio"):
            others.append(_store(block.data, block.mime_type, blobs))
        elif block.type == "resource_link":
            others.append({"uri": str(block.uri), "name": block.name, "mime_type": block.mime_type})
        elif hasattr(block.resource, "text"):
            texts.append(storable(block.resource.text))
        else:
            mime_type = block.resource.mime_type or "application/octet-stream"
            others.append({"uri": str(block.resource.uri), **_store(block.resource.blob, mime_type, blobs)})
    return texts, others


def _store(data: str, mime_type: str, blobs: Blobs) -> dict[str, Any]:
    try:
        return blobs.keep(base64.b64decode(data, validate=True), mime_type)
    except binascii.Error:
        return {"mime_type": mime_type, "error": "the server's data is not base64"}


def _truncate(value: Any, blobs: Blobs) -> Any:
    """Return the value, or the beginning of its text when that is longer than `MAX_TEXT`."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if len(text) <= MAX_TEXT:
        return value
    whole = blobs.keep(text.encode("utf-8", "replace"), "text/plain" if isinstance(value, str) else "application/json")
    return {"text": text[:MAX_TEXT], "truncated": True, "total_characters": len(text), "whole": whole}
