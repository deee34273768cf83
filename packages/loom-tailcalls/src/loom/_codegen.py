"""Compile a rewritten definition to a code object that fits the original function.

Theory of operation
-------------------

A code object fits a function only if its names resolve as those of the original do. So the
definition is never executed; it is compiled in a synthetic module that the compiler cannot
distinguish from the original place:

* **Free variables.** The definition is put into a synthetic function `.outer` that assigns every
  free variable of the original. The compiler then makes them free variables again, and the linker
  puts the *original* cells in, by name. Everything else stays local or global as before.
* **Classes.** If a class surrounds the `def` (at any depth), `.outer` is inside a class of the same
  name: the compiler mangles `__names` with it. `__class__`, which zero-argument `super()` needs, is
  one more free variable.
* **Its own name.** The definition is compiled as `.f`, or `.outer` would bind the name and a global
  recursive call would turn into a free variable. `co_name` and every `co_qualname` are corrected
  afterwards, also in nested code.
* **Imports.** From 3.12 on the bytecode of `x.m()` depends on whether the *module* imports `x`; the
  synthetic module imports the same names.
* **What is evaluated at definition time** (defaults, annotations, decorators, type parameters) is
  stripped: the original function has those values. One dummy decorator keeps `co_firstlineno` on
  the decorator's line.

Names that start with a dot belong to this package. Python's grammar cannot spell them and the
compiler does not mangle them, so they cannot collide. Nodes without source text have line -1: the
compiler gives their instructions no line, and debuggers, coverage and tracebacks do not see them.

The original definition is compiled in the same way. If that does not give the loaded code,
instruction by instruction and line by line, the text is not what Python loaded, and the caller
refuses it.
"""

from __future__ import annotations
import __future__

import ast
import sys
from types import CodeType
from typing import TYPE_CHECKING, TypeVar

from loom._source import quiet_compile

if TYPE_CHECKING:
    from collections.abc import Iterable

    from loom._source import Definition, Function

NAME = ".f"
OUTER = ".outer"
FUTURE_FLAGS = sum({getattr(__future__, name).compiler_flag for name in __future__.all_feature_names})
CO_NESTED, CO_GENERATOR, CO_ITERABLE_COROUTINE = 0x10, 0x20, 0x100
NodeT = TypeVar("NodeT", bound=ast.AST)


def bare(node: Function) -> Function:
    """Copy a definition without what is evaluated at definition time; the body is the same list."""
    old = node.args
    arguments = ast.arguments(
        posonlyargs=[_plain(arg) for arg in old.posonlyargs],
        args=[_plain(arg) for arg in old.args],
        vararg=_plain(old.vararg) if old.vararg else None,
        kwonlyargs=[_plain(arg) for arg in old.kwonlyargs],
        kw_defaults=[None for _ in old.kwonlyargs],
        kwarg=_plain(old.kwarg) if old.kwarg else None,
        defaults=[],
    )
    return definition_like(node, arguments, node.body, is_async=isinstance(node, ast.AsyncFunctionDef))


def definition_like(node: Function, arguments: ast.arguments, body: list[ast.stmt], *, is_async: bool) -> Function:
    """Build a definition at the place of `node` with other parameters and another body."""
    decorators: list[ast.expr] = []
    if node.decorator_list:
        decorators.append(ast.copy_location(ast.Constant(None), node.decorator_list[0]))
    cls = ast.AsyncFunctionDef if is_async else ast.FunctionDef
    made = cls(name=NAME, args=arguments, body=body, decorator_list=decorators, returns=None)
    if sys.version_info >= (3, 12):
        made.type_params = []
    return ast.copy_location(made, node)


def compile_definition(
    definition: Definition, node: Function, original: CodeType, helpers: Iterable[str] = ()
) -> CodeType:
    """Compile `node` in place of the definition.

    Args:
        definition: The definition in the text.
        node: A definition made by `bare` or `definition_like`.
        original: The code of the loaded function: its free variables, names and flags are kept.
        helpers: Further free variables, whose names start with a dot.
    """
    anywhere = ast.copy_location(ast.Constant(None), definition.node)
    variables = [*original.co_freevars, *helpers]
    bindings: list[ast.stmt] = [
        _at(ast.Assign(targets=[_at(ast.Name(name, ast.Store()), anywhere)], value=anywhere), anywhere)
        for name in variables
    ]
    body: list[ast.stmt] = [_at(_function(OUTER, [*bindings, node]), anywhere)]
    if definition.private_class is not None:
        body = [_at(_class(definition.private_class, body), anywhere)]
    imports: list[ast.stmt] = [
        _at(ast.Import(names=[_at(ast.alias(name=name), anywhere)]), anywhere) for name in definition.file.imported
    ]
    module = ast.Module(body=imports + body, type_ignores=[])
    flags = original.co_flags & FUTURE_FLAGS
    compiled = quiet_compile(lambda: compile(module, original.co_filename, "exec", flags=flags, dont_inherit=True))
    return _renamed(_dig_out(compiled), original)


def same_code(left: CodeType, right: CodeType) -> bool:
    """Tell whether two code objects have the same instructions on the same lines."""
    return (
        left.co_code == right.co_code
        and left.co_names == right.co_names
        and left.co_varnames == right.co_varnames
        and left.co_freevars == right.co_freevars
        and left.co_cellvars == right.co_cellvars
        and left.co_qualname == right.co_qualname
        and list(left.co_lines()) == list(right.co_lines())
        and len(left.co_consts) == len(right.co_consts)
        and all(map(_same_const, left.co_consts, right.co_consts))
    )


def _same_const(left: object, right: object) -> bool:
    if isinstance(left, CodeType) and isinstance(right, CodeType):
        return same_code(left, right)
    if type(left) is not type(right):
        return False
    if isinstance(left, tuple) and isinstance(right, tuple):
        return len(left) == len(right) and all(map(_same_const, left, right))
    if isinstance(left, frozenset) and isinstance(right, frozenset):
        return sorted(map(repr, left)) == sorted(map(repr, right))
    return repr(left) == repr(right)  # distinguishes -0.0 from 0.0, and nan equals nan


def _plain(arg: ast.arg) -> ast.arg:
    return ast.copy_location(ast.arg(arg=arg.arg, annotation=None), arg)


def _at(node: NodeT, like: ast.AST) -> NodeT:
    return ast.copy_location(node, like)


def _function(name: str, body: list[ast.stmt]) -> ast.FunctionDef:
    nothing = ast.arguments(
        posonlyargs=[], args=[], vararg=None, kwonlyargs=[], kw_defaults=[], kwarg=None, defaults=[]
    )
    made = ast.FunctionDef(name=name, args=nothing, body=body, decorator_list=[], returns=None)
    if sys.version_info >= (3, 12):
        made.type_params = []
    return made


def _class(name: str, body: list[ast.stmt]) -> ast.ClassDef:
    made = ast.ClassDef(name=name, bases=[], keywords=[], body=body, decorator_list=[])
    if sys.version_info >= (3, 12):
        made.type_params = []
    return made


def _dig_out(code: CodeType) -> CodeType:
    if code.co_name == NAME:
        return code
    inner = next(
        const
        for const in code.co_consts
        if isinstance(const, CodeType) and (const.co_name in (NAME, OUTER) or code.co_name == "<module>")
    )
    return _dig_out(inner)


def _renamed(code: CodeType, original: CodeType) -> CodeType:
    """Give the code, and the code inside it, the names and flags of the original."""
    wrong, right = code.co_qualname, original.co_qualname

    def fixed(const: object) -> object:
        if isinstance(const, CodeType):
            consts = tuple(map(fixed, const.co_consts))
            return const.replace(co_qualname=fixed_name(const.co_qualname), co_consts=consts)
        return fixed_name(const) if isinstance(const, str) else const  # a class body names itself in a constant

    def fixed_name(name: str) -> str:
        return right + name[len(wrong) :] if name.startswith(wrong) else name

    kept = CO_NESTED | (
        CO_ITERABLE_COROUTINE if code.co_flags & CO_GENERATOR else 0
    )  # `types.coroutine` sets the latter
    flags = (code.co_flags & ~CO_NESTED) | (original.co_flags & kept)
    consts = tuple(map(fixed, code.co_consts))
    return code.replace(co_name=original.co_name, co_qualname=right, co_consts=consts, co_flags=flags)
