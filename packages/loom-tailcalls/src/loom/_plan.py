"""Compile a definition once, and keep the result as long as the code of the original function
lives.

A plan holds everything that depends on the definition alone, so a function that is defined again
and again inside another one is compiled once. `_link` makes functions from it.
"""

from __future__ import annotations

import warnings
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loom._codegen import compile_definition
from loom._errors import BlockScopeWarning
from loom._locate import analyse_function, unplaced
from loom._loop import lower_to_loop
from loom._nodes import NOWHERE
from loom._options import Options
from loom._signature import mangled
from loom._source import deep_trees
from loom._step import lower_to_binder, lower_to_driver, lower_to_step

if TYPE_CHECKING:
    from types import CodeType, FrameType, FunctionType

    from loom._lowering import Lowered
    from loom._verdict import Analysis, Deviation

MEMBER = ".member"
"""The cell by which a compiled function is recognised."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One rewritten definition and its code."""

    lowered: Lowered
    code: CodeType


class Plan:
    """One compiled definition: what all functions made from it share.

    Attributes:
        analysis: The analysis, without refusals.
        options: The options of the decorator.
        public: The function that replaces the user's.
        binder: The function that binds a call and returns the arguments by position.
        entry_defaults: For each default that `public` reads at entry: its index from the end of
            `__defaults__`, or its key in `__kwdefaults__`.
    """

    __slots__ = ("_accepts_original", "_step", "analysis", "binder", "entry_defaults", "options", "public")

    def __init__(self, analysis: Analysis, *, accepts_original: bool) -> None:
        """Compile a definition that was not refused.

        Args:
            analysis: The analysis, without refusals.
            accepts_original: Whether the undecorated function counts as the function: nothing has
                replaced its name.
        """
        self.analysis = analysis
        self.options = analysis.options
        self._accepts_original = accepts_original
        self._step: Unit | None = None
        if analysis.form == "loop":
            lowered = lower_to_loop(analysis, accepts_original=accepts_original)
        else:
            lowered = lower_to_driver(analysis)
        self.public = self._compiled(lowered, keeps_cells=True)
        binder = self._compiled(lower_to_binder(analysis))
        # Tracers must not report a line of the user's file here.
        self.binder = Unit(binder.lowered, binder.code.replace(co_filename="<loom>", co_name=".bind"))
        ordered, private_class = analysis.parameters.ordered, analysis.parameters.private_class
        self.entry_defaults = tuple(
            ordered.index(name) - len(ordered) if name in ordered else mangled(name, private_class)
            for name in lowered.defaults
        )

    @property
    def is_needless(self) -> bool:
        """Tell whether the function makes no tail call at all, and the user allowed that."""
        return not self.analysis.calls and self.options.group is None

    @property
    def step(self) -> Unit:
        """Return the step function, compiled when it is first needed."""
        if self._step is None:
            with deep_trees():
                self._step = self._compiled(lower_to_step(self.analysis, accepts_original=self._accepts_original))
        return self._step

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Return the names of the parameters, in the order of a step's arguments."""
        private_class = self.analysis.parameters.private_class
        return tuple(mangled(name, private_class) for name in self.analysis.parameters.all)

    def warn(self, module_globals: dict[str, Any]) -> None:
        """Warn about each tail call that leaves a block although the user did not set `blocks`."""
        for deviation in self.analysis.unrequested_block_ends:
            warnings.warn_explicit(
                block_scope_text(self.analysis, deviation),
                BlockScopeWarning,
                self.analysis.definition.file.filename,
                deviation.line,
                module_globals.get("__name__", ""),
                module_globals.setdefault("__warningregistry__", {}),
            )

    def _compiled(self, lowered: Lowered, *, keeps_cells: bool = False) -> Unit:
        original = self.analysis.code
        helpers = set(lowered.helpers)
        if keeps_cells:  # the step function may need every cell later, and `member_of` needs `.member`
            helpers |= {MEMBER, ".self", ".orig"} if self._accepts_original else {MEMBER, ".self"}
            kept = [NOWHERE.expr(NOWHERE.load(name)) for name in (*original.co_freevars, *sorted(helpers))]
            lowered.node.body.append(NOWHERE.if_(NOWHERE.constant(False), [*kept]))
        return Unit(lowered, compile_definition(self.analysis.definition, lowered.node, original, sorted(helpers)))


_plans: dict[tuple[int, tuple[Any, ...]], tuple[weakref.ref[CodeType], Plan]] = {}
"""The plans by the identity of the original code and the options; removed with the code."""


def plan_of(original: FunctionType, given: tuple[Any, ...], caller: FrameType | None) -> Plan:
    """Compile the definition of a function, or return the plan that it already has.

    Args:
        original: The undecorated function.
        given: The options, in the order of `Options`.
        caller: The frame that called the decorator: its line identifies our decorator.

    Raises:
        TailCallError: It cannot be compiled.
    """
    key = (id(original.__code__), given)
    found = _plans.get(key) if _is_hashable(given) else None
    if found is not None and found[0]() is original.__code__:
        return found[1]
    if hasattr(original, "__wrapped__"):
        raise unplaced("LT006", f"{original.__qualname__!r}", original.__code__)
    analysis, position = analyse_function(original, Options(*given), caller)
    if analysis.refusals:
        raise analysis.refusals[0]
    with deep_trees():
        plan = Plan(analysis, accepts_original=position is None)
    _plans[key] = (weakref.ref(original.__code__, lambda _: _plans.pop(key, None)), plan)
    return plan


def _is_hashable(given: tuple[Any, ...]) -> bool:
    """Tell whether the options can be a key; a value such as `group=[]` is refused later, with a
    reason.
    """
    try:
        hash(given)
    except TypeError:
        return False
    return True


def block_scope_text(analysis: Analysis, deviation: Deviation) -> str:
    """Return the text of the warning for one tail call inside a block."""
    name = analysis.definition.node.name
    return (
        f"the tail call of {name!r} leaves its block before the next step begins; the recursion would keep it open "
        f'{deviation.text[deviation.text.find("(") :]}. Pass blocks="step" to keep this behaviour, '
        'blocks="exact" to keep the blocks open, or blocks="reject" to get an error.'
    )
