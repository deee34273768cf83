"""The options of the decorators, and their validation."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

Blocks: TypeAlias = Literal["step", "exact", "reject"]
Mode: TypeAlias = Literal["tailrec", "tailstream"]
Kind: TypeAlias = Literal["function", "coroutine", "generator", "async generator"]


class Options(NamedTuple):
    """The keyword options of `tailrec` and `tailstream`, as given; a part of the key of the plan
    cache.
    """

    mode: Mode = "tailrec"
    blocks: Blocks | None = None
    group: str | None = None
    yield_every: int | None = None
    allow_none: bool = False
    allow_recursion: bool = False


def why_not_usable(options: Options, kind: Kind) -> str | None:
    """Return why these options cannot be used for a function of this kind, or None if they can.

    Args:
        options: As given by the user, so the values may have any type.
        kind: What `def` made.
    """
    if options.blocks not in (None, "step", "exact", "reject"):
        return f'blocks={options.blocks!r} is not one of "step", "exact", "reject"'
    group: object = options.group
    if group is not None and not (isinstance(group, str) and group):
        return f"group={options.group!r} is not a non-empty string"
    if options.group is not None and options.blocks == "exact":
        return 'blocks="exact" cannot be used in a group: it keeps the frames of one function'
    if options.yield_every is None:
        return None
    if type(options.yield_every) is not int or options.yield_every < 1:
        return f"yield_every={options.yield_every!r} is not a positive whole number"
    if kind in ("function", "generator"):
        return f"yield_every gives the event loop a turn, and this {kind} cannot await"
    if options.blocks == "exact":
        return 'yield_every and blocks="exact" cannot be used together'
    return None
