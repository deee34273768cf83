"""Which function a call refers to, as far as the text shows.

At run time a guard tests whether the callee *is* the function, and otherwise the original call is
made. So this module only decides which calls get a guard, and which calls outside tail position are
certainly recursion.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from loom._signature import Parameters
    from loom._source import Definition

Access: TypeAlias = Literal["function", "method"]


@dataclass(frozen=True, slots=True)
class Callees:
    """What the calls in one definition can refer to."""

    name: str
    class_name: str | None
    first: str | None
    is_static: bool
    is_class_method: bool
    shadowed: bool
    in_group: bool

    @property
    def is_method(self) -> bool:
        """Tell whether the `def` is directly in a class, where its bare name is not visible."""
        return self.class_name is not None

    def may_be_target(self, call: ast.Call) -> bool:
        """Tell whether a call in tail position gets a guard."""
        match call.func:
            case ast.Name(id=name):
                return self.in_group or (name == self.name and not self.is_method and not self.shadowed)
            case ast.Attribute(value=ast.Call(func=ast.Name(id="super"))):
                return False
            case ast.Attribute(attr=name):
                return self.in_group or (name == self.name and self.is_method)
        return False

    def is_self(self, call: ast.Call) -> bool:
        """Tell whether a call, in any position, refers to this function as far as the text
        shows.
        """
        match call.func:
            case ast.Name(id=name):
                return name == self.name and not self.is_method and not self.shadowed
            case ast.Attribute(value=receiver, attr=self.name) if self.is_method:
                return self._is_own(receiver)
        return False

    def accesses(self, callee: ast.expr) -> tuple[Access, ...]:
        """Return what evaluating `callee` may give: the function, a method bound to it, or (to be
        tested) both.
        """
        if not isinstance(callee, ast.Attribute) or self.is_static:
            return ("function",)
        receiver = callee.value
        if isinstance(receiver, ast.Name) and receiver.id == self.first:
            return ("method",)
        if isinstance(receiver, ast.Name) and receiver.id == self.class_name:
            return ("method",) if self.is_class_method else ("function",)
        return ("method", "function")

    def _is_own(self, receiver: ast.expr) -> bool:
        match receiver:
            case ast.Name(id=name):
                return name == self.class_name or (name == self.first and not self.is_static)
            case (
                ast.Call(func=ast.Name(id="type"), args=[ast.Name(id=name)])
                | ast.Attribute(value=ast.Name(id=name), attr="__class__")
            ):
                return name == self.first
        return False


def callees_of(definition: Definition, parameters: Parameters, *, is_local: bool, in_group: bool) -> Callees:
    """Read the name, class and decorators of a definition.

    Args:
        definition: The definition.
        parameters: Its parameters.
        is_local: Whether the function's own name is a variable of its frame.
        in_group: Whether any callee may be a member of its group.
    """
    decorators = {final_name(node) for node in definition.node.decorator_list}
    return Callees(
        name=definition.node.name,
        class_name=definition.class_name,
        first=parameters.first,
        is_static="staticmethod" in decorators,
        is_class_method="classmethod" in decorators,
        shadowed=is_local,
        in_group=in_group,
    )


def final_name(node: ast.expr) -> str:
    """Return the last part of a name: `c` for `a.b.c` and for `a.b.c(...)`."""
    if isinstance(node, ast.Call):
        node = node.func
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
