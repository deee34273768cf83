"""Analyse one definition: its tail calls, its form, the differences to report, and the refusals.

The function is neither run nor rewritten here. The variables that closures keep come from its code
object (`co_cellvars`), the names of its frame from the text (`_frame`).
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from loom._callees import Access, callees_of, final_name
from loom._codes import DEVIATIONS
from loom._flow import Flow
from loom._frame import frame_nodes, names_of
from loom._options import Kind, Options, why_not_usable
from loom._positions import Edge, Site, find_positions, stream_variable
from loom._signature import Bound, Unbindable, bind_call, mangled, parameters_of
from loom._verdict import Analysis, Deviation, Route, TailCall, is_receiver, is_same

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType

    from loom._errors import TailCallError
    from loom._source import Definition

KIND_FLAGS: tuple[tuple[int, Kind], ...] = ((0x200, "async generator"), (0x80, "coroutine"), (0x20, "generator"))
COMPREHENSION_NAMES = frozenset({"<listcomp>", "<setcomp>", "<dictcomp>"})
TRANSPARENT = frozenset(
    {"staticmethod", "classmethod", "abstractmethod", "override", "final", "no_type_check", "wraps", "coroutine"}
)
"""Decorators that return the function unchanged, or in a form that the guard recognises."""


def kind_of(code: CodeType) -> Kind:
    """Return what a call of a code object creates."""
    return next((kind for flag, kind in KIND_FLAGS if code.co_flags & flag), "function")


def analyse(
    definition: Definition,
    code: CodeType,
    options: Options,
    *,
    position: int | None,
    is_builtin: Callable[[str], bool],
) -> Analysis:
    """Analyse one definition.

    Args:
        definition: The text.
        code: The code object that Python compiles it to.
        options: The options of the decorator.
        position: The index of our decorator in the decorator list, or None if it was called as a
            function.
        is_builtin: Whether a global name has its built-in meaning.
    """
    return _Analyser(definition, code, options, is_builtin).run(position)


class _Analyser:
    """The facts that the parts of the analysis share."""

    def __init__(
        self, definition: Definition, code: CodeType, options: Options, is_builtin: Callable[[str], bool]
    ) -> None:
        self.definition = definition
        self.node = definition.node
        self.code = code
        self.options = options
        self.kind = kind_of(code)
        self.is_builtin = is_builtin
        self.names = names_of(self.node)
        self.parameters = parameters_of(self.node, definition.private_class)
        self.callees = callees_of(
            definition, self.parameters, is_local=self.node.name in self.names.own, in_group=options.group is not None
        )
        self.positions = find_positions(self.node, self.kind, self.callees.may_be_target, self.callees.is_self)

    def run(self, position: int | None) -> Analysis:
        routes, unbindable = self._routes()
        flow = Flow(self.node.body, self.parameters.all, self.names, {id(site.call) for site in self.positions.sites})
        calls = tuple(
            TailCall(
                site,
                routes[id(site.call)],
                keeps_blocks=self.options.blocks == "exact" and bool(site.open_blocks),
                starving=id(site.call) in flow.starving,
            )
            for site in self.positions.sites
        )
        captured = self._captured(calls)
        needs_frames = captured or self.options.group is not None or any(call.site.blocks for call in calls)
        refusals = sorted(self._refusals(unbindable, position), key=lambda error: (error.line or 0, error.column or 0))
        return Analysis(
            definition=self.definition,
            code=self.code,
            kind=self.kind,
            options=self.options,
            parameters=self.parameters,
            callees=self.callees,
            form="step" if needs_frames else "loop",
            calls=calls,
            names=self.names,
            captured=tuple(sorted(captured)),
            maybe_unbound=tuple(sorted(flow.maybe_unbound)),
            deviations=tuple(deviation for call in calls for deviation in self._deviations(call)),
            refusals=tuple(refusals),
        )

    # ------------------------------------------------------------ binding

    def _routes(self) -> tuple[dict[int, tuple[Route, ...]], list[tuple[ast.Call, Unbindable]]]:
        """Bind every tail call for each object that its callee may be; list the calls that cannot
        be bound.
        """
        routes: dict[int, tuple[Route, ...]] = {}
        unbindable: list[tuple[ast.Call, Unbindable]] = []
        for site in self.positions.sites:
            accesses = () if self.options.group is not None else self.callees.accesses(site.call.func)
            bound = [(access, self._bind(site.call, access)) for access in accesses]
            fitting = tuple(Route(access, part) for access, part in bound if not isinstance(part, Unbindable))
            routes[id(site.call)] = fitting
            if not fitting and len(accesses) == 1:
                unbindable += [(site.call, part) for _, part in bound[:1] if isinstance(part, Unbindable)]
        return routes, unbindable

    def _bind(self, call: ast.Call, access: Access) -> Bound | Unbindable | None:
        if access == "function":
            return bind_call(self.parameters, call)
        first = self.parameters.first
        if first is None:  # only `*args` can take the receiver
            return None
        return bind_call(self.parameters, call, ast.copy_location(ast.Name(id=first, ctx=ast.Load()), call.func))

    # ------------------------------------------------------------ closures

    def _captured(self, calls: tuple[TailCall, ...]) -> set[str]:
        """Return the variables that a closure keeps after the step and that change in the next
        step.
        """
        kept = {name for name in _closure_names(self.code) if name in self.code.co_cellvars}
        unchanged = {
            mangled(name, self.definition.private_class)
            for name in self.parameters.all
            if name not in self.names.assigned and all(self._keeps(name, call) for call in calls)
        }
        return kept - unchanged

    def _keeps(self, name: str, call: TailCall) -> bool:
        """Tell whether the next step of a tail call has the same value in the parameter `name`."""
        if not call.routes:
            return False
        for route in call.routes:
            if route.bound is None or not is_same(route.bound, name):
                return False
            if (
                route.access == "method"
                and name == self.parameters.first
                and not is_receiver(call.site.call.func, name)
            ):
                return False
        return True

    # ------------------------------------------------------------ deviations

    def _deviations(self, call: TailCall) -> Iterator[Deviation]:
        site = call.site
        if call.keeps_blocks:
            if site.in_handler:
                yield self._deviation("exception-context", site)
            return
        if site.open_blocks:
            yield self._deviation("block-scope", site, ", ".join(f"`{block.keyword}`" for block in site.open_blocks))
        if site.in_handler:
            yield self._deviation("exception-context", site)
        if site.iterators:
            yield self._deviation("iterator-released", site)
        if site.form == "stream":
            yield self._deviation("stream-delegation", site)

    def _deviation(self, key: str, site: Site, inside: str = "") -> Deviation:
        text = DEVIATIONS[key].title + (f" (inside {inside})" if inside else "")
        return Deviation(key, text, site.call.lineno, self.definition.file.column(site.call))

    # ------------------------------------------------------------ refusals

    def _refusals(self, unbindable: list[tuple[ast.Call, Unbindable]], position: int | None) -> Iterator[TailCallError]:
        error = self.definition.error
        if self.options.mode == "tailstream" and self.kind not in ("generator", "async generator"):
            yield error("LT008")
            return
        if (why := why_not_usable(self.options, self.kind)) is not None:
            yield error("LT009", reason=why)
            return
        yield from self._decorators_above(position)
        yield from self._introspection()
        for site in self.positions.sites:
            yield from self._site_refusals(site)
        for call, part in unbindable:
            yield error("LT014", call, reason=f"{part.reason}; Python would raise a TypeError here")
        if not self.options.allow_recursion:
            for call in self.positions.stray:
                yield error("LT011", call)
            for loop in self.positions.bad_streams:
                yield error("LT018", loop.iter)
        for call in self.positions.unawaited:
            yield error("LT016", call)
        yield from self._nothing_to_do()

    def _nothing_to_do(self) -> Iterator[TailCallError]:
        positions = self.positions
        recursion_is_refused = not self.options.allow_recursion and (positions.stray or positions.bad_streams)
        if positions.sites or positions.unawaited or recursion_is_refused:
            return
        if self.options.allow_none or self.options.group is not None:
            return
        name = self.node.name
        for node in frame_nodes(self.node):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
                if self.callees.shadowed:
                    yield self.definition.error("LT017", node.func)
                    return
                if self.callees.is_method:
                    reason = f"inside a method the bare name {name!r} means a global, not this method"
                    fix = f"Write `self.{name}(...)`, or remove the decorator."
                    yield self.definition.error("LT010", node.func, reason=reason, fix=fix)
                    return
        yield self.definition.error("LT010")

    def _site_refusals(self, site: Site) -> Iterator[TailCallError]:
        error = self.definition.error
        if any(block.edge is Edge.CLEANUP for block in site.blocks):
            yield error("LT012", site.call)
            return
        if site.open_blocks and self.options.blocks == "reject":
            keyword = site.open_blocks[-1].keyword
            reason = f"the recursion would run the next step while this `{keyword}` is still open"
            yield error("LT013", site.call, reason=reason)
        if site.form == "stream":
            name = stream_variable(site.anchor) or ""
            raw = mangled(name, self.definition.private_class)
            if name not in self.names.own or raw in _closure_names(self.code):
                yield error("LT019", site.call, reason=f"the variable {name!r} is global, nonlocal or captured")
        if self.kind == "async generator" and any(
            isinstance(block.node, ast.Try | ast.TryStar) and _may_cancel(block.node.finalbody) for block in site.blocks
        ):
            yield error("LT020", site.call)

    def _decorators_above(self, position: int | None) -> Iterator[TailCallError]:
        for decorator in self.node.decorator_list[: position or 0]:
            name = final_name(decorator)
            if name in ("tailrec", "tailstream"):
                yield self.definition.error("LT005", decorator)
            elif name not in TRANSPARENT:
                yield self.definition.error("LT007", decorator)

    def _introspection(self) -> Iterator[TailCallError]:
        reported = set()
        for node in frame_nodes(self.node):
            match node:
                case ast.Name(id="locals" as name, ctx=ast.Load()):
                    found: ast.expr = node
                case ast.Call(func=ast.Name(id="vars" | "dir" as name), args=[], keywords=[]):
                    found = node
                case ast.Call(func=ast.Name(id="eval" | "exec" as name), args=args) if len(args) < 2:
                    found = node
                case ast.Attribute(attr="f_locals" as name, ctx=ast.Load()):
                    found = node
                case _:
                    continue
            if isinstance(found, ast.Attribute):
                means_it = True
            else:
                means_it = name not in self.names.own and name not in self.code.co_freevars and self.is_builtin(name)
            if means_it and found.lineno not in reported:
                reported.add(found.lineno)
                yield self.definition.error("LT015", found)


def _closure_names(code: CodeType) -> set[str]:
    """Return the variables of `code` that inner code may use after the step: all except those that
    only comprehensions use.
    """
    names: set[str] = set()
    for const in code.co_consts:
        if hasattr(const, "co_freevars"):
            inner = _closure_names(const) if const.co_name in COMPREHENSION_NAMES else set(const.co_freevars)
            names |= inner
    return names


def _may_cancel(finalbody: list[ast.stmt]) -> bool:
    """Tell whether a `finally` can end by `return`, `break` or `continue`."""
    pending: list[tuple[ast.AST, bool]] = [(statement, False) for statement in finalbody]
    while pending:
        node, in_loop = pending.pop()
        if isinstance(node, ast.Return) or (isinstance(node, ast.Break | ast.Continue) and not in_loop):
            return True
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            inner = in_loop or isinstance(node, ast.For | ast.AsyncFor | ast.While)
            pending.extend((child, inner) for child in ast.iter_child_nodes(node))
    return False
