"""Show how a person has changed the arguments of a call before others decide about it.

The command line, the page and Telegram show the same lines, so that nobody approves a change that
they have not seen. Characters that a terminal or a browser would not show are written as escapes.
"""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, Final

from flow_xray.terminal import visible_line

__all__ = ["argument_difference", "edit_notes", "final_arguments"]

_OTHER_SPACE: Final = re.compile(r"[^\S ]")
_CONTEXT_LINES: Final = 2


def argument_difference(proposed: Mapping[str, Any], final: Mapping[str, Any]) -> list[str]:
    """Return the lines that differ: `- argv: good web`, `+ argv: evil web`.

    A list of texts is shown as a command line. In a text of several lines only the lines that
    differ are shown, with two lines around them. Values of different types that look the same are
    shown as JSON.

    Args:
        proposed: The arguments that were asked for.
        final: The arguments that will be used.
    """
    lines: list[str] = []
    for name in [*proposed, *(name for name in final if name not in proposed)]:
        before, after = proposed.get(name), final.get(name)
        if (
            name in proposed
            and name in final
            and json.dumps(before, sort_keys=True) == json.dumps(after, sort_keys=True)
        ):
            continue
        old = _lines_of(before) if name in proposed else []
        new = _lines_of(after) if name in final else []
        if old == new:
            old, new = [json.dumps(before)], [json.dumps(after)]
        lines += [_shown(f"{sign} {name}: {line}") for sign, line in _changes(old, new)]
    return lines


def final_arguments(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that an approval of a request allows.

    Args:
        request: As `loom_runner.Runs.approvals` returns it.
    """
    edited = request["edited_arguments"]
    return dict(request["arguments"] if edited is None else edited)


def edit_notes(request: Mapping[str, Any]) -> list[str]:
    """Return what a person who decides must know about the edits of a request; empty without one.

    Args:
        request: As `loom_runner.Runs.approvals` returns it.
    """
    edits = [index for index, decision in enumerate(request["decisions"]) if decision["how"] == "edit"]
    if not edits:
        return []
    earlier, later = request["decisions"][: edits[-1]], request["decisions"][edits[-1] + 1 :]
    editor = request["decisions"][edits[-1]]["by"]
    void = sorted({decision["by"] for decision in earlier if decision["how"] == "approve"})
    notes = [f"edited by {editor}: the call uses other arguments than those that were asked for"]
    if void:
        notes.append(f"earlier approvals are void: {', '.join(void)}")
    if request["status"] == "pending":
        approvers = {decision["by"] for decision in later if decision["how"] == "approve"} - {editor}
        missing = request.get("approvals_missing", max(0, request["needed"] - len(approvers)))
        notes.append(f"{missing} {'person' if missing == 1 else 'people'} must still approve")
    return [visible_line(note) for note in notes]


def _shown(text: str) -> str:
    """Return a line in which also spaces that are not the usual one are seen."""
    return _OTHER_SPACE.sub(lambda found: f"\\u{ord(found[0]):04x}", visible_line(text))


def _lines_of(value: Any) -> list[str]:
    if isinstance(value, str):
        return value.split("\n") if value else [""]
    if isinstance(value, list) and value and all(isinstance(word, str) for word in value):
        return [shlex.join(value)]
    return [json.dumps(value, ensure_ascii=False, sort_keys=True)]


def _changes(old: list[str], new: list[str]) -> Iterator[tuple[str, str]]:
    if len(old) <= 1 and len(new) <= 1:
        yield from (("-", line) for line in old)
        yield from (("+", line) for line in new)
        return
    import difflib  # for texts of several lines only

    for index, line in enumerate(difflib.unified_diff(old, new, n=_CONTEXT_LINES, lineterm="")):
        if index > 1:  # the first two name files
            yield (" ", "...") if line.startswith("@@") else (line[0], line[1:])
