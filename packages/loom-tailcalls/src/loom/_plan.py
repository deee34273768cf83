"""From a function to its compiled form: compile once per definition, link once per function object.

A plan holds everything that depends on the definition alone. It is kept as long as the code object of the original
function lives, so a function that is defined again and again in an outer one is compiled once; linking costs a few
microseconds. Linking puts the original cells back, by name, and adds ours.
"""

from __future__ import annotations

import sys
import warnings
import weakref
from dataclasses import dataclass
from types import CellType, CodeType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from loom import _runtime
from loom._codegen import compile_definition
from loom._errors import BlockScopeWarning
from loom._judge import judge, not_a_function, unplaced
from loom._loop import lower_to_loop
from loom._nodes import NOWHERE
from loom._options import Options
from loom._runtime import MEMBER, Member, entry, lookup_in_group, member_of
from loom._signature import mangled
from loom._source import deep_trees
from loom._step import lower_to_binder, lower_to_driver, lower_to_step

if TYPE_CHECKING:
    from types import FrameType

    from loom._lowering import Lowered
    from loom._verdict import Analysis, Deviation

SHARED = {
    f".{name}": CellType(value)
    for name, value in {
        "type": type,
        "Method": MethodType,
        "Next": _runtime.Next,
        "Push": _runtime.Push,
        "pause": _runtime.pause,
        "call_frames": _runtime.call_frames,
        "await_frames": _runtime.await_frames,
        "run_frames": _runtime.run_frames,
        "BaseException": BaseException,
        "GeneratorExit": GeneratorExit,
        "StopAsyncIteration": StopAsyncIteration,
    }.items()
}
"""The cells that are the same for every function."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One piece of compiled code and the cells of ours that it needs."""

    lowered: Lowered
    code: CodeType


class Plan:
    """One compiled definition: what all functions made from it share."""

    __slots__ = ("_accepts_original", "_binder", "_public", "_step", "_wanted", "analysis", "options")

    def __init__(self, analysis: Analysis, *, accepts_original: bool) -> None:
        """Compile a definition that was not refused.

        Args:
            analysis: The verdict, without refusals.
            accepts_original: Whether the undecorated function counts as the function: nobody replaced its name.
        """
        self.analysis = analysis
        self.options = analysis.options
        self._accepts_original = accepts_original
        parameters = analysis.parameters
        if analysis.form == "loop":
            self._public = self._compiled(
                lower_to_loop(analysis, accepts_original=accepts_original),
                keeps_cells=True,
            )
        else:
            self._public = self._compiled(lower_to_driver(analysis), keeps_cells=True)
        binder = self._compiled(lower_to_binder(analysis))
        unseen = binder.code.replace(co_filename="<loom>", co_name=".bind")  # no line of the user for tracers
        self._binder = Unit(binder.lowered, unseen)
        self._step: Unit | None = None
        ordered = parameters.ordered
        self._wanted = tuple(
            ordered.index(name) - len(ordered) if name in ordered else mangled(name, parameters.private_class)
            for name in self._public.lowered.defaults
        )

    @property
    def is_needless(self) -> bool:
        """Tell whether the function makes no tail call at all, and the user allowed that."""
        return not self.analysis.calls and self.options.group is None

    @property
    def public(self) -> Lowered:
        """Return the rewritten public function as a syntax tree."""
        return self._public.lowered

    @property
    def step(self) -> Unit:
        """Return the step function, compiled when it is first needed."""
        if self._step is None:
            with deep_trees():
                lowered = lower_to_step(self.analysis, accepts_original=self._accepts_original)
                self._step = self._compiled(lowered)
        return self._step

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Return the names of the parameters, in the order of a step's arguments."""
        private_class = self.analysis.parameters.private_class
        return tuple(mangled(name, private_class) for name in self.analysis.parameters.all)

    def link(self, original: FunctionType) -> FunctionType:
        """Build the public function for one function object of this definition."""
        code = self._public.code
        own: dict[str, CellType] = {name: CellType() for name in OWN}
        cells = {**SHARED, **own, **dict(zip(original.__code__.co_freevars, original.__closure__ or (), strict=True))}
        public = FunctionType(
            code,
            original.__globals__,
            original.__name__,
            original.__defaults__,
            tuple([cells[name] for name in code.co_freevars]),
        )
        _copy_attributes(original, public)
        binder = FunctionType(self._binder.code, original.__globals__, original.__name__, original.__defaults__)
        binder.__qualname__, binder.__module__ = original.__qualname__, original.__module__
        binder.__kwdefaults__ = original.__kwdefaults__
        member = Member(self, public, binder)
        own[".self"].cell_contents = public
        own[".orig"].cell_contents = original
        own[MEMBER].cell_contents = member
        own[".bind"].cell_contents = binder
        own[".binder"].cell_contents = member.binder
        if ".enter" in self._public.lowered.helpers:
            own[".enter"].cell_contents = entry(member, self._wanted)
        return public

    def link_step(self, member: Member) -> FunctionType:
        """Build the step function of one member, on the cells of its public function."""
        public, code = member.public, self.step.code
        cells = {**SHARED, **dict(zip(public.__code__.co_freevars, public.__closure__ or (), strict=True))}
        cells[".bind"] = CellType(member.binder())
        cells[".binder"] = CellType(member.binder)
        if ".lookup" in self.step.lowered.helpers:
            cells[".lookup"] = CellType(lookup_in_group(member))
        closure = tuple(cells[name] for name in code.co_freevars)
        made = FunctionType(code, public.__globals__, public.__name__, None, closure)
        made.__qualname__ = public.__qualname__
        return made

    def warn(self, module_globals: dict[str, Any]) -> None:
        """Warn about each tail call that leaves a block without the user having said so."""
        for deviation in self.analysis.unsaid_blocks:
            warnings.warn_explicit(
                block_scope_text(self.analysis, deviation),
                BlockScopeWarning,
                self.analysis.definition.file.filename,
                deviation.line,
                module_globals.get("__name__", ""),
                module_globals.setdefault("__warningregistry__", {}),
            )

    def _compiled(self, lowered: Lowered, *, keeps_cells: bool = False) -> Unit:
        twin = self.analysis.code
        helpers = set(lowered.helpers)
        if keeps_cells:  # the step function may need every cell later, and `member_of` needs ours
            helpers |= {MEMBER, ".self", ".orig"} if self._accepts_original else {MEMBER, ".self"}
            kept = [NOWHERE.expr(NOWHERE.load(name)) for name in (*twin.co_freevars, *sorted(helpers))]
            lowered.node.body.append(NOWHERE.if_(NOWHERE.constant(False), [*kept]))
        return Unit(lowered, compile_definition(self.analysis.definition, lowered.node, twin, sorted(helpers)))


OWN = (".self", ".orig", MEMBER, ".bind", ".binder", ".enter")
"""The cells that each function has for itself."""

_plans: dict[tuple[int, tuple[Any, ...]], tuple[weakref.ref[CodeType], Plan]] = {}
"""The plans by the identity of the original code and the options. An entry goes when the code does."""


def decorate(fn: object, said: tuple[Any, ...], caller: FrameType | None) -> FunctionType:
    """Compile a function, or take the plan of its definition, and link it.

    Args:
        fn: What the user decorates.
        said: The options, in the order of `Options`.
        caller: The frame that called the decorator: its line tells our decorator from others.

    Raises:
        TailCallError: It cannot be compiled.
    """
    if type(fn) is not FunctionType:
        raise not_a_function(fn)
    found = _plans.get((id(fn.__code__), said)) if _is_hashable(said) else None
    plan = found[1] if found is not None and found[0]() is fn.__code__ else _make_plan(fn, said, caller)
    if plan.is_needless:
        return fn
    plan.warn(fn.__globals__)
    return plan.link(fn)


def _make_plan(original: FunctionType, said: tuple[Any, ...], caller: FrameType | None) -> Plan:
    for code, is_so in (
        ("LT005", member_of(original) is not None),
        ("LT006", hasattr(original, "__wrapped__")),
    ):
        if is_so:
            raise unplaced(code, f"{original.__qualname__!r}", original.__code__)
    analysis, position = judge(original, Options(*said), caller)
    if analysis.refusals:
        raise analysis.refusals[0]
    with deep_trees():
        plan = Plan(analysis, accepts_original=position is None)
    key = (id(original.__code__), said)
    _plans[key] = (weakref.ref(original.__code__, lambda _: _plans.pop(key, None)), plan)
    return plan


def _is_hashable(said: tuple[Any, ...]) -> bool:
    """Tell whether the options can be a key; nonsense such as `group=[]` is refused later, with a reason."""
    try:
        hash(said)
    except TypeError:
        return False
    return True


def block_scope_text(analysis: Analysis, deviation: Deviation) -> str:
    """Write the warning for one tail call inside a block."""
    name = analysis.definition.node.name
    return (
        f"the tail call of {name!r} leaves its block before the next step begins; the recursion would keep it open "
        f'{deviation.text[deviation.text.find("(") :]}. Say blocks="step" to keep it like this, blocks="exact" to keep '
        'the blocks open, or blocks="reject" to get an error.'
    )


def _copy_attributes(original: FunctionType, public: FunctionType) -> None:
    """Give the public function what the definition gave the original."""
    public.__qualname__ = original.__qualname__
    public.__module__ = original.__module__
    public.__doc__ = original.__doc__
    public.__kwdefaults__ = original.__kwdefaults__
    if sys.version_info >= (3, 14):
        public.__annotate__ = original.__annotate__
    elif original.__annotations__:
        public.__annotations__ = original.__annotations__
    if sys.version_info >= (3, 12):
        public.__type_params__ = original.__type_params__
    if original.__dict__:
        public.__dict__.update(original.__dict__)
