"""Ids of runs, tool calls and approval requests: which are valid, and how they are written.

`RUN#3` is the third tool call of a run, `RUN#r3` its third approval request. A run id contains no
`#`, so none of the three can be read as another.

The id of a child is `<parent>:sub:<name>`, so the ids of a run and all its descendants share a
prefix. `:sub:` is reserved for the engine: `start`, `enqueue` and `fork` refuse an id that contains
it. Every program that parses ids uses these functions.
"""

from __future__ import annotations

from typing import Final, Literal

from loom_runner.errors import UsageError

__all__ = [
    "ancestor_run_ids",
    "call_id",
    "check_child_name",
    "check_new_run_id",
    "check_run_id",
    "child_name",
    "child_run_id",
    "descendant_prefix",
    "is_child",
    "is_within",
    "parent_run_id",
    "parse_id",
    "request_id",
    "root_run_id",
]

_SEPARATOR: Final = ":sub:"
MAX_LENGTH: Final = 200


def check_run_id(run_id: str, verb: str) -> None:
    """Refuse an id that is not valid.

    Args:
        verb: The operation, for the message: *cannot VERB 'ID'*.

    Raises:
        UsageError: The id is not a string, is blank, longer than 200 characters, or contains `#` or
            a character that is not printable.
    """
    if not isinstance(run_id, str):
        raise UsageError(f"cannot {verb} {run_id!r:.60}: a run id is a string.")
    if not run_id.strip() or not run_id.isprintable() or len(run_id) > MAX_LENGTH or "#" in run_id:
        raise UsageError(
            f"cannot {verb} {run_id!r}: a run id has 1 to 200 printable characters, not only spaces, and no '#'."
        )


def check_new_run_id(run_id: str, verb: str) -> None:
    """Refuse an id that a user cannot give to a new run: one that is not valid, or that of a child.

    Raises:
        UsageError: As for `check_run_id`, or the id contains `:sub:` or ends with `:sub`, so that
            the ids of its children would look like those of another run.
    """
    check_run_id(run_id, verb)
    if is_child(f"{run_id}:"):
        raise UsageError(
            f"cannot {verb} {run_id!r}: {_SEPARATOR!r} is reserved for the ids of child runs. Choose another run id; "
            "an existing child is continued by resume.",
            run_id=run_id,
        )


def check_child_name(name: str, verb: str) -> None:
    """Refuse a name that a child run cannot have.

    Raises:
        UsageError: The name is not valid in an id, or contains `:sub:` or begins with `sub:`.
    """
    check_run_id(name, verb)
    if is_child(f":{name}"):
        raise UsageError(f"cannot {verb} {name!r}: {_SEPARATOR!r} separates the ids of parents and children.")


def child_run_id(parent_id: str, name: str) -> str:
    """Return the id of a child run.

    Raises:
        UsageError: The name is not valid in an id.
    """
    check_child_name(name, "start child")
    run_id = f"{parent_id}{_SEPARATOR}{name}"
    check_run_id(run_id, "start child")
    return run_id


def is_child(run_id: str) -> bool:
    """Return whether the id is that of a child run."""
    return _SEPARATOR in run_id


def child_name(run_id: str) -> str:
    """Return the name of a child among its siblings; the id itself if the run is not a child."""
    return run_id.rpartition(_SEPARATOR)[2]


def parent_run_id(run_id: str) -> str | None:
    """Return the id of a child's parent; None if the run is not a child."""
    return run_id.rpartition(_SEPARATOR)[0] or None


def ancestor_run_ids(run_id: str) -> list[str]:
    """Return the ids of a child's parent, of that one's parent, and so on; empty if the run is not
    a child.
    """
    found = []
    while (parent := parent_run_id(run_id)) is not None:
        found.append(parent)
        run_id = parent
    return found


def root_run_id(run_id: str) -> str:
    """Return the id of the run that a child descends from; the id itself if the run is not a
    child.
    """
    return run_id.partition(_SEPARATOR)[0]


def descendant_prefix(run_id: str) -> str:
    """Return the prefix that the ids of all descendants of a run share."""
    return f"{run_id}{_SEPARATOR}"


def call_id(run_id: str, number: int) -> str:
    """Return the id of a tool call, `RUN#3`."""
    return f"{run_id}#{number}"


def request_id(run_id: str, number: int) -> str:
    """Return the id of an approval request, `RUN#r3`."""
    return f"{run_id}#r{number}"


def parse_id(text: str) -> tuple[str, Literal["run", "call", "request"], int]:
    """Return the run that an id names, what it names, and the number of the call or request (0 for
    a run).

    The run id is not checked. What follows a `#` without being a number belongs to the run id,
    which `check_run_id` then refuses.
    """
    run_id, hash_sign, number = text.rpartition("#")
    digits = number.removeprefix("r")
    if not hash_sign or not digits.isdecimal() or not digits.isascii() or len(digits) > 18:
        return text, "run", 0
    return run_id, "request" if number != digits else "call", int(digits)


def is_within(run_id: str, ancestor_id: str) -> bool:
    """Return whether a run is this one or a descendant of it."""
    return run_id == ancestor_id or run_id.startswith(descendant_prefix(ancestor_id))
