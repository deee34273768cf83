"""The model behind a bare `--mock-llm`: it searches the workspace, reads the best match and quotes
it.

It does not understand text. Its replies contain only what the tools found, so that a first run on
any folder shows a real search and a real file read, the same ones every time.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from loom_agents import ModelReply, ModelRequest, ScriptedModel, ToolCall
from loom_runner.cli_base import plural, shorten

from loom_run._mock.team import current_turn, lead_reply, verify_reply

QUOTED_LINES = 12


def mock_model(agent: str | None = None, *, leads: bool = False) -> ScriptedModel:
    """Build the mock.

    Args:
        agent: The agent of a team that it mocks; None for the one that the user talks to.
        leads: The agent leads a team.
    """
    if agent == "verifier":
        return ScriptedModel(verify_reply, name="mock")
    return ScriptedModel(lead_reply if leads and agent is None else _reply, name="mock")


def _reply(request: ModelRequest) -> ModelReply:
    question, results = current_turn(request)
    if not results:
        return _call("I look for this in the documents.", request, "search_docs", query=question)
    last = results[-1]
    if last.outcome != "success":
        return ModelReply(f"{last.name} failed: {last.payload}")
    if not isinstance(last.payload, Mapping) or last.payload.keys().isdisjoint({"matches", "files", "lines"}):
        text = last.payload if isinstance(last.payload, str) else json.dumps(last.payload, ensure_ascii=False)
        return ModelReply(f"{last.name} answers: {shorten(text, 2000)}")  # an MCP server, with its own result format
    if last.name in {"search_docs", "grep"} and last.payload["matches"]:
        best = last.payload["matches"][0]
        text = f"The best match is {best['path']}:{best['line']}. I read it."
        return _call(text, request, "read_file", path=best["path"], offset=best["line"], limit=QUOTED_LINES)
    # Search for the longest words: they are the most specific.
    words = sorted(set(re.findall(r"\w{4,}", question)), key=lambda word: (len(word), word))[-3:]
    if last.name == "search_docs" and words:
        return _call("No document matches. I search all files.", request, "grep", pattern=_any_of(words))
    if last.name not in {"list_files", "read_file"}:
        return _call("Nothing found. I list the files.", request, "list_files", limit=10)
    if last.name == "list_files":
        return ModelReply(_nothing_found(question, results[0].payload, last.payload))
    return ModelReply(_quote(results[-2].payload, last.payload))


def _any_of(words: list[str]) -> str:
    """Write a pattern for lines with one of the words, in upper or lower case."""
    return rf"(?i)\b({'|'.join(re.escape(word) for word in words)})\b"


def _call(text: str, request: ModelRequest, tool: str, **arguments: Any) -> ModelReply:
    return ModelReply(text, (ToolCall(f"call-{len(request.messages)}", tool, arguments),))


def _nothing_found(question: str, search: Any, listing: Any) -> str:
    lines = [f'I searched {plural(search["documents"], "document")} and all files for "{question}" and found nothing.']
    if listing["total"]:
        names = ", ".join(file["path"] for file in listing["files"])
        more = ", ..." if listing["truncated"] else ""
        lines.append(f"The workspace has {plural(listing['total'], 'file')}: {names}{more}.")
    else:
        lines.append("The workspace has no files.")
    return "\n".join(lines)


def _quote(search: Any, page: Any) -> str:
    best, *others = search["matches"]
    heading = f" ({best['heading']})" if best.get("heading") else ""
    matches = plural(search["total"], "match", "matches")
    lines = [f"{page['path']}:{page['offset']}{heading} is the best of {matches}:", ""]
    lines += [f"> {line}".rstrip() for line in page["text"].rstrip().split("\n")]
    if others:
        lines += ["", "See also: " + ", ".join(f"{other['path']}:{other['line']}" for other in others[:4])]
    return "\n".join(lines)
