"""Explain how a function is compiled, as text or as JSON data."""

from __future__ import annotations

import ast
import copy
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Literal, overload

from loom._errors import TailCallError
from loom._link import member_of
from loom._locate import analyse_function, not_a_function
from loom._options import Options
from loom._plan import Plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from loom._source import Function
    from loom._verdict import Analysis

SHOWN_PREFIX = "_loom_"


@overload
def explain_tailcalls(fn: Callable[..., Any], as_json: Literal[False] = False) -> str: ...


@overload
def explain_tailcalls(fn: Callable[..., Any], as_json: Literal[True]) -> dict[str, Any]: ...


@overload
def explain_tailcalls(fn: Callable[..., Any], as_json: bool) -> str | dict[str, Any]: ...


def explain_tailcalls(fn: Callable[..., Any], as_json: bool = False) -> str | dict[str, Any]:
    """Explain the tail calls of a function: decorated or not, accepted or refused.

    Args:
        fn: A function, or a method, static method or class method.
        as_json: Whether to return plain data instead of text.

    Returns:
        A text to print, or a dict of JSON values: `function`, `file`, `line`, `mode` ("tailrec" or
        "tailstream"), `kind`, `accepted`, `form` ("loop", "step" or null), `sites` (`line`,
        `column`, `call`, `binding`, `blocks`, `keeps_blocks`), `deviations` (`id`, `text`, `line`,
        `column`), `refused` (`code`, `reason`, `fix`, `line`, `column`), `captured`, `cleared`,
        `may_starve` and `source` (the rewritten function as Python text, or null).
    """
    function: object = fn
    if isinstance(function, MethodType | staticmethod | classmethod):
        function = function.__func__
    if not isinstance(function, FunctionType):
        raise not_a_function(function)
    facts = _facts_of(function)
    return facts if as_json else as_text(facts)


def _facts_of(function: FunctionType) -> dict[str, Any]:
    member = member_of(function)
    if member is not None:
        return facts_of(member.plan.analysis, member.plan)
    try:
        analysis, position = analyse_function(function, _guessed_options(function), None)
    except TailCallError as error:
        return _refused_facts(function, error)
    if analysis.refusals:
        return facts_of(analysis, None)
    return facts_of(analysis, Plan(analysis, accepts_original=position is None))


def _guessed_options(function: FunctionType) -> Options:
    is_generator = function.__code__.co_flags & 0x220
    return Options("tailstream" if is_generator else "tailrec")


def facts_of(analysis: Analysis, plan: Plan | None) -> dict[str, Any]:
    """Return the results of an analysis as JSON data, with the source if a plan is given."""
    return {
        "function": analysis.code.co_qualname,
        "file": analysis.definition.file.filename,
        "line": analysis.definition.node.lineno,
        "mode": analysis.options.mode,
        "kind": analysis.kind.replace(" ", "_"),
        "accepted": not analysis.refusals,
        "form": None if analysis.refusals else analysis.form,
        "blocks": analysis.options.blocks,
        "group": analysis.options.group,
        "sites": [
            {
                "line": call.site.call.lineno,
                "column": analysis.definition.file.column(call.site.call),
                "call": ast.unparse(call.site.call),
                "binding": call.binding,
                "blocks": [block.keyword for block in call.site.blocks],
                "keeps_blocks": call.keeps_blocks,
                "may_starve": call.starving,
            }
            for call in analysis.calls
        ],
        "deviations": [
            {"id": found.id, "text": found.text, "line": found.line, "column": found.column}
            for found in analysis.deviations
        ],
        "refused": [refusal_facts(error) for error in analysis.refusals],
        "captured": list(analysis.captured),
        "cleared": list(analysis.maybe_unbound) if analysis.form == "loop" else [],
        "may_starve": analysis.may_starve,
        "source": None if plan is None else readable_source(plan),
    }


def _refused_facts(function: FunctionType, error: TailCallError) -> dict[str, Any]:
    """Return the data of a function that could not be analysed."""
    options = _guessed_options(function)
    return {
        "function": function.__qualname__,
        "file": function.__code__.co_filename,
        "line": function.__code__.co_firstlineno,
        "mode": options.mode,
        "kind": None,
        "accepted": False,
        "form": None,
        "blocks": None,
        "group": None,
        "sites": [],
        "deviations": [],
        "refused": [refusal_facts(error)],
        "captured": [],
        "cleared": [],
        "may_starve": False,
        "source": None,
    }


def refusal_facts(error: TailCallError) -> dict[str, Any]:
    """Return a refusal as JSON data."""
    return {
        "code": error.code,
        "reason": error.reason,
        "fix": error.fix,
        "line": error.line,
        "column": error.column,
        "source_line": error.source_line,
    }


def as_text(facts: dict[str, Any]) -> str:
    """Return the data as text for a person."""
    lines = [f"{facts['function']}  ({facts['file']}:{facts['line']})"]
    if facts["accepted"]:
        lines.append(f"  accepted: {facts['kind'].replace('_', ' ')}, {FORM_WORDS[facts['form']]}")
    else:
        lines.append("  refused")
    for refusal in facts["refused"]:
        lines.append(f"  {refusal['code']} at line {refusal['line']}, column {refusal['column']}: {refusal['reason']}")
        lines.append(f"      fix: {refusal['fix']}")
    for site in facts["sites"]:
        inside = f", inside {', '.join(site['blocks'])}" if site["blocks"] else ""
        lines.append(
            f"  tail call at line {site['line']}, column {site['column']}: {site['call']} [{site['binding']}{inside}]"
        )
    lines += [
        f"  differs from recursion at line {found['line']}: {found['text']} ({found['id']})"
        for found in facts["deviations"]
    ]
    if facts["captured"]:
        lines.append(f"  kept by closures, so every step has its own frame: {', '.join(facts['captured'])}")
    if facts["cleared"]:
        lines.append(f"  cleared between steps: {', '.join(facts['cleared'])}")
    if facts["may_starve"]:
        lines.append("  may starve the event loop: a path from step to step awaits nothing (see yield_every)")
    return "\n".join(lines)


FORM_WORDS = {
    "loop": "loop form (all steps in one frame)",
    "step": "step form (a fresh frame per step, constant stack)",
}


def readable_source(plan: Plan) -> str:
    """Return the rewritten function as Python text; names that start with a dot get a prefix
    instead.

    In the step form: the step function, then the driver.
    """
    name = plan.analysis.definition.node.name
    public = _readable(plan.public.lowered.node, name)
    if plan.analysis.form == "loop" or not plan.analysis.calls:
        return public
    return _readable(plan.step.lowered.node, f"{SHOWN_PREFIX}step_of_{name}") + "\n\n" + public


def _readable(lowered: Function, name: str) -> str:
    made = copy.deepcopy(lowered)
    made.name, made.decorator_list = name, []
    return ast.unparse(_Readable().visit(made))


class _Readable(ast.NodeTransformer):
    """Replace names that are not valid in Python, and remove what is only for the compiler."""

    def visit_Name(self, node: ast.Name) -> ast.Name:
        """Replace an invalid name."""
        return ast.Name(id=spelled(node.id), ctx=node.ctx)

    def visit_arg(self, node: ast.arg) -> ast.arg:
        """Replace an invalid parameter name."""
        return ast.arg(arg=spelled(node.arg), annotation=None)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        """Replace an invalid name in a handler."""
        visited = self.generic_visit(node)
        assert isinstance(visited, ast.ExceptHandler)
        visited.name = spelled(visited.name) if visited.name else None
        return visited

    def visit_If(self, node: ast.If) -> ast.AST | None:
        """Remove `if False:`, which only mentions variables."""
        if isinstance(node.test, ast.Constant) and node.test.value is False and node.lineno == -1:
            return None
        return self.generic_visit(node)


def spelled(name: str) -> str:
    """Return a valid name."""
    return SHOWN_PREFIX + name[1:] if name.startswith(".") else name
