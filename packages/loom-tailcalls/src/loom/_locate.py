"""Find the text of a loaded function, verify that it is that of the loaded code, and analyse it."""

from __future__ import annotations

import builtins
import linecache
import sys
from typing import TYPE_CHECKING, Any

from loom._analysis import analyse
from loom._codegen import bare, compile_definition, same_code
from loom._codes import CODES
from loom._errors import TailCallError
from loom._source import Definition, deep_trees, has_rewritten_asserts, read_definitions

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType, FunctionType

    from loom._options import Options
    from loom._verdict import Analysis


def analyse_function(original: FunctionType, options: Options, caller: FrameType | None) -> tuple[Analysis, int | None]:
    """Find the text of a function, verify it, and analyse it.

    Returns:
        The analysis, and the index of the decorator that `caller` was executing; None if there is
        none.

    Raises:
        TailCallError: There is nothing to analyse.
    """
    definition, twin = locate(original)
    position = None
    if caller is not None and caller.f_code.co_filename == definition.file.filename:
        position = definition.decorator_at(caller.f_lineno)
    is_builtin = _builtin_check(original.__globals__)
    with deep_trees():
        return analyse(definition, twin, options, position=position, is_builtin=is_builtin), position


def locate(original: FunctionType) -> tuple[Definition, CodeType]:
    """Find the definition of a function, and compile it again to verify that it is the loaded one.

    Raises:
        TailCallError: There is no source, or it is not that of the loaded code.
    """
    code = original.__code__
    subject = f"{original.__qualname__!r}"
    if code.co_name == "<lambda>":
        raise unplaced("LT002", subject, code)
    rewritten = "_pytest.assertion.rewrite" in sys.modules and has_rewritten_asserts(code)
    definitions = read_definitions(code.co_filename, original.__globals__, asserts_rewritten=rewritten)
    if definitions is None:
        raise unplaced("LT003", subject, code)
    key = (code.co_name, code.co_firstlineno)
    definition = next((found for found in definitions if (found.node.name, found.first_line) == key), None)
    if definition is None:
        raise unplaced("LT004", subject, code)
    try:
        twin = compile_definition(definition, bare(definition.node), code)
    except (SyntaxError, ValueError):
        raise unplaced("LT004", subject, code) from None
    if not same_code(twin, code):
        raise definition.error("LT004")
    return definition, twin


def not_a_function(thing: object) -> TailCallError:
    """Build the refusal of an object that is not a plain function."""
    what = getattr(thing, "__qualname__", None) or getattr(thing, "__name__", None) or repr(thing)
    kind = "a class" if isinstance(thing, type) else f"of type {type(thing).__name__!r}"
    return TailCallError("LT001", f"{what!r}", reason=f"{CODES['LT001'].why}; this is {kind}", fix=CODES["LT001"].fix)


def unplaced(code: str, subject: str, where: CodeType) -> TailCallError:
    """Build a refusal whose place is that in the code object; the line is shown if it can be
    read.
    """
    found, line = CODES[code], where.co_firstlineno
    text = linecache.getline(where.co_filename, line).rstrip()
    start = max(text.find("lambda"), 0) if code == "LT002" else len(text) - len(text.lstrip())
    return TailCallError(
        code,
        subject,
        reason=found.why,
        fix=found.fix,
        filename=where.co_filename,
        line=line,
        column=start + 1,
        source_line=text,
        width=len("lambda") if code == "LT002" else len(text) - start,
    )


def _builtin_check(module_globals: dict[str, Any]) -> Callable[[str], bool]:
    return lambda name: module_globals.get(name, getattr(builtins, name)) is getattr(builtins, name)
