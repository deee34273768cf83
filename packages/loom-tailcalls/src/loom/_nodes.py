"""Build syntax nodes with a given place.

Every node that the rewrite adds carries a place: that of the source text it represents, or
`NOWHERE` (line -1), which gives its instructions no line. Names that start with a dot belong to
this package, see `_codegen`.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Place(TypedDict):
    """The four numbers of a node's place."""

    lineno: int
    end_lineno: int
    col_offset: int
    end_col_offset: int


class Build:
    """Builds nodes with the place of another node, or with none."""

    def __init__(self, like: ast.stmt | ast.expr | None = None) -> None:
        """Take the place of `like`."""
        if like is None:
            self.place = Place(lineno=-1, end_lineno=-1, col_offset=-1, end_col_offset=-1)
        else:
            self.place = Place(
                lineno=like.lineno,
                end_lineno=like.end_lineno or like.lineno,
                col_offset=like.col_offset,
                end_col_offset=like.end_col_offset or like.col_offset,
            )

    def load(self, name: str) -> ast.Name:
        """Read a variable."""
        return ast.Name(id=name, ctx=ast.Load(), **self.place)

    def constant(self, value: bool | int | str | None) -> ast.Constant:
        """Write a literal."""
        return ast.Constant(value=value, **self.place)

    def attribute(self, value: ast.expr, name: str) -> ast.Attribute:
        """Read `value.name`."""
        return ast.Attribute(value=value, attr=name, ctx=ast.Load(), **self.place)

    def call(self, callee: ast.expr, *args: ast.expr) -> ast.Call:
        """Call with positional arguments."""
        return ast.Call(func=callee, args=list(args), keywords=[], **self.place)

    def tuple(self, parts: Iterable[ast.expr]) -> ast.Tuple:
        """Build a tuple."""
        return ast.Tuple(elts=list(parts), ctx=ast.Load(), **self.place)

    def is_(self, left: ast.expr, right: ast.expr) -> ast.Compare:
        """Compare by identity."""
        return ast.Compare(left=left, ops=[ast.Is()], comparators=[right], **self.place)

    def equal(self, left: ast.expr, right: ast.expr) -> ast.Compare:
        """Compare by value."""
        return ast.Compare(left=left, ops=[ast.Eq()], comparators=[right], **self.place)

    def all(self, *tests: ast.expr) -> ast.expr:
        """Join tests by `and`."""
        return tests[0] if len(tests) == 1 else ast.BoolOp(op=ast.And(), values=list(tests), **self.place)

    def any(self, *tests: ast.expr) -> ast.expr:
        """Join tests by `or`."""
        return tests[0] if len(tests) == 1 else ast.BoolOp(op=ast.Or(), values=list(tests), **self.place)

    def not_(self, test: ast.expr) -> ast.UnaryOp:
        """Negate a test."""
        return ast.UnaryOp(op=ast.Not(), operand=test, **self.place)

    def set(self, name: str, value: ast.expr) -> ast.Assign:
        """Assign one variable."""
        return ast.Assign(targets=[ast.Name(id=name, ctx=ast.Store(), **self.place)], value=value, **self.place)

    def set_all(self, names: Sequence[str], value: ast.expr) -> ast.Assign:
        """Unpack a value into variables."""
        targets: list[ast.expr] = [ast.Name(id=name, ctx=ast.Store(), **self.place) for name in names]
        return ast.Assign(targets=[ast.Tuple(elts=targets, ctx=ast.Store(), **self.place)], value=value, **self.place)

    def delete(self, name: str) -> ast.Delete:
        """Unbind a variable."""
        return ast.Delete(targets=[ast.Name(id=name, ctx=ast.Del(), **self.place)], **self.place)

    def if_(self, test: ast.expr, body: list[ast.stmt], orelse: list[ast.stmt] | None = None) -> ast.If:
        """Branch."""
        return ast.If(test=test, body=body, orelse=orelse or [], **self.place)

    def expr(self, value: ast.expr) -> ast.Expr:
        """Evaluate for effect."""
        return ast.Expr(value=value, **self.place)

    def return_(self, value: ast.expr | None) -> ast.Return:
        """End the function with a value."""
        return ast.Return(value=value, **self.place)

    def await_(self, value: ast.expr) -> ast.Await:
        """Await a value."""
        return ast.Await(value=value, **self.place)

    def forever(self, body: list[ast.stmt]) -> ast.While:
        """Loop without a test."""
        return ast.While(test=self.constant(True), body=body, orelse=[], **self.place)

    def break_(self) -> ast.Break:
        """Leave the loop."""
        return ast.Break(**self.place)

    def continue_(self) -> ast.Continue:
        """Begin the next iteration."""
        return ast.Continue(**self.place)

    def arguments(self, names: Iterable[str]) -> ast.arguments:
        """List plain parameters."""
        return ast.arguments(
            posonlyargs=[],
            args=[ast.arg(arg=name, annotation=None, **self.place) for name in names],
            vararg=None,
            kwonlyargs=[],
            kw_defaults=[],
            kwarg=None,
            defaults=[],
        )


NOWHERE = Build()


def call_with(call: ast.Call, callee: ast.expr, receiver: ast.expr | None = None) -> ast.Call:
    """Copy a call with another callee, and optionally another first argument."""
    args = [receiver, *call.args] if receiver is not None else call.args
    return ast.copy_location(ast.Call(func=callee, args=args, keywords=call.keywords), call)
