"""The results of the analysis of one definition, for the rewrite, the explanation and the
linter.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from loom._callees import final_name

if TYPE_CHECKING:
    from types import CodeType

    from loom._callees import Access, Callees
    from loom._errors import TailCallError
    from loom._frame import FrameNames
    from loom._options import Kind, Options
    from loom._positions import Site
    from loom._signature import Bound, Parameters
    from loom._source import Definition

Form: TypeAlias = Literal["loop", "step"]


@dataclass(frozen=True, slots=True)
class Deviation:
    """One difference that an accepted function may show: a key of `DEVIATIONS` and its place."""

    id: str
    text: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Route:
    """One way in which a tail call may reach the function.

    Attributes:
        access: What the callee evaluates to: the function, or a method bound to it.
        bound: The arguments by parameter, or None if they need the binder.
    """

    access: Access
    bound: Bound | None


@dataclass(frozen=True, slots=True)
class TailCall:
    """One accepted tail call.

    Attributes:
        site: The call and its place.
        routes: The ways it may reach the function; none in a group, where the callee is known only
            at run time.
        keeps_blocks: Whether its frame stays on the heap until the callee has ended
            (`blocks="exact"`).
        starving: Whether a path leads here without awaiting anything.
    """

    site: Site
    routes: tuple[Route, ...]
    keeps_blocks: bool
    starving: bool

    @property
    def binding(self) -> Literal["direct", "bind"]:
        """Return how the arguments reach the parameters."""
        return "direct" if self.routes and all(route.bound is not None for route in self.routes) else "bind"


@dataclass(frozen=True, slots=True)
class Analysis:
    """The facts about one definition.

    Attributes:
        code: Code that is equal to that of the loaded function.
        names: The names of its frame.
        captured: The variables that a closure keeps and that change from step to step.
        maybe_unbound: The locals that have to be cleared between steps.
        refusals: Why it cannot be compiled; empty if it can.
    """

    definition: Definition
    code: CodeType
    kind: Kind
    options: Options
    parameters: Parameters
    callees: Callees
    form: Form
    calls: tuple[TailCall, ...]
    names: FrameNames
    captured: tuple[str, ...]
    maybe_unbound: tuple[str, ...]
    deviations: tuple[Deviation, ...]
    refusals: tuple[TailCallError, ...]

    @property
    def receiver_is_stable(self) -> bool:
        """Tell whether the first parameter is never assigned, so that it always is the receiver of
        a method.
        """
        return self.parameters.first is not None and self.parameters.first not in self.names.assigned

    @property
    def defaults_are_live(self) -> bool:
        """Tell whether defaults are read at every step: the file touches them, or steps share no
        entry.
        """
        if not self.parameters.positional_defaults and not self.parameters.keyword_defaults:
            return False
        touched = any("__defaults__" in line or "__kwdefaults__" in line for line in self.definition.file.lines)
        return touched or self.form == "step"

    @property
    def unrequested_block_ends(self) -> tuple[Deviation, ...]:
        """Return the tail calls that end a block although `blocks` was not given.

        In a group any tail call may reach a member; only those whose name is that of a decorated
        function in the file are returned.
        """
        if self.options.blocks is not None:
            return ()
        likely = None
        if self.options.group is not None:
            likely = self.definition.file.decorated
        places = {
            (call.site.call.lineno, self.definition.file.column(call.site.call))
            for call in self.calls
            if likely is None or final_name(call.site.call.func) in likely
        }
        found = (deviation for deviation in self.deviations if deviation.id == "block-scope")
        return tuple(deviation for deviation in found if (deviation.line, deviation.column) in places)

    @property
    def may_starve(self) -> bool:
        """Tell whether a step may follow another without letting the event loop run."""
        is_async = self.kind in ("coroutine", "async generator")
        return is_async and self.options.yield_every is None and any(call.starving for call in self.calls)


def is_receiver(callee: ast.expr, name: str) -> bool:
    """Tell whether `callee` is an attribute of the variable `name`."""
    return isinstance(callee, ast.Attribute) and isinstance(callee.value, ast.Name) and callee.value.id == name


def is_same(bound: Bound, name: str) -> bool:
    """Tell whether the parameter `name` is given its own value."""
    value = dict(bound.values)[name]
    return isinstance(value, ast.Name) and value.id == name
