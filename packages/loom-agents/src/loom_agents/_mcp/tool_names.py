"""The names that a model sees for the tools of MCP servers: `server__tool`, at most 64 characters.

Providers reject a request if a single tool name has a dot, a space or more than 64 characters.
Characters that they reject are replaced, and a name that is too long or not unique gets a hash of
the original names. The beginning and the end of a long name are kept, because tools of one server
often differ only in their last letters.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from typing import Final, TypeAlias

__all__ = ["MAX_NAME", "ServerTool", "model_names"]

MAX_NAME: Final = 64
_HEAD, _HASH, _TAIL = 36, 8, 18  # with two underscores between them: 64

ServerTool: TypeAlias = tuple[str, str]
"""The name of a server and the server's name of a tool."""


def model_names(tools: Iterable[ServerTool], *, taken: Iterable[str] = ()) -> dict[ServerTool, str]:
    """Return the name of each tool for the model.

    A name depends on its tool alone, unless two tools would have the same name; then the tools
    whose names had to be changed get a hash.

    Args:
        tools: All tools of all servers.
        taken: Names that are already in use.
    """
    each = list(dict.fromkeys(tools))
    plain = {tool: f"{_cleaned(tool[0])}__{_cleaned(tool[1])}" for tool in each}
    used = Counter([*plain.values(), *taken])
    names = {}
    for tool, name in plain.items():
        is_shared = used[name] > 1 and (name != "__".join(tool) or name in taken or _is_ambiguous(tool))
        names[tool] = _hashed(tool, name) if is_shared or len(name) > MAX_NAME else name
    return names


def _cleaned(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)


def _is_ambiguous(tool: ServerTool) -> bool:
    """Report whether another pair may give the same name: `a__b`, `c` and `a`, `b__c` do."""
    return "__" in tool[0] or "__" in tool[1]


def _hashed(tool: ServerTool, name: str) -> str:
    digest = hashlib.sha256("\0".join(tool).encode()).hexdigest()[:_HASH]
    if len(name) + 1 + _HASH <= MAX_NAME:
        return f"{name}_{digest}"
    return f"{name[:_HEAD]}_{digest}_{name[-_TAIL:]}"
