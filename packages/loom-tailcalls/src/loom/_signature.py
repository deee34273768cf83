"""Bind a call to parameters at compile time, as Python would at run time.

A call without `*` or `**` is bound here: each parameter gets an argument expression, a tuple of the
surplus positional arguments, an empty dictionary, or its default. Any other call needs the binder,
a generated function with the same parameters, so that Python itself evaluates, merges and raises.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loom._source import Function


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of a definition, with the names in the text."""

    positional_only: tuple[str, ...]
    positional: tuple[str, ...]
    keyword_only: tuple[str, ...]
    rest: str | None
    keywords: str | None
    positional_defaults: int
    keyword_defaults: frozenset[str]
    private_class: str | None

    @property
    def all(self) -> tuple[str, ...]:
        """Return every name in the order of `co_varnames`."""
        tail = (name for name in (self.rest, self.keywords) if name is not None)
        return (*self.ordered, *self.keyword_only, *tail)

    @property
    def ordered(self) -> tuple[str, ...]:
        """Return the names that positional arguments can fill, in order."""
        return self.positional_only + self.positional

    @property
    def first(self) -> str | None:
        """Return the first positional parameter: `self` or `cls` of a method."""
        return self.ordered[0] if self.ordered else None

    def has_default(self, name: str) -> bool:
        """Tell whether the definition gives `name` a default."""
        if name in self.keyword_defaults:
            return True
        return name in self.ordered[len(self.ordered) - self.positional_defaults :]


@dataclass(frozen=True, slots=True)
class Default:
    """The default of a parameter that a call leaves out."""

    name: str


@dataclass(frozen=True, slots=True)
class Bound:
    """A call bound at compile time: values by parameter, in the order in which Python evaluates
    them.
    """

    values: tuple[tuple[str, ast.expr | Default], ...]


@dataclass(frozen=True, slots=True)
class Unbindable:
    """A call that can only raise a TypeError."""

    reason: str


def parameters_of(node: Function, private_class: str | None) -> Parameters:
    """Read the parameters of a definition."""
    given = node.args
    return Parameters(
        positional_only=tuple(arg.arg for arg in given.posonlyargs),
        positional=tuple(arg.arg for arg in given.args),
        keyword_only=tuple(arg.arg for arg in given.kwonlyargs),
        rest=given.vararg.arg if given.vararg else None,
        keywords=given.kwarg.arg if given.kwarg else None,
        positional_defaults=len(given.defaults),
        keyword_defaults=frozenset(
            arg.arg for arg, default in zip(given.kwonlyargs, given.kw_defaults, strict=True) if default is not None
        ),
        private_class=private_class,
    )


def mangled(name: str, private_class: str | None) -> str:
    """Return the name the compiler uses for `name` inside a class."""
    stripped = (private_class or "").lstrip("_")
    if not stripped or not name.startswith("__") or name.endswith("__") or "." in name:
        return name
    return f"_{stripped}{name}"


def bind_call(parameters: Parameters, call: ast.Call, receiver: ast.expr | None = None) -> Bound | Unbindable | None:
    """Bind `call`, with `receiver` as the first argument if the callee is a bound method.

    Returns:
        The bound values; why it cannot bind; or None if only the binder can tell.
    """
    if any(isinstance(arg, ast.Starred) for arg in call.args) or any(word.arg is None for word in call.keywords):
        return None
    positional = [receiver, *call.args] if receiver is not None else list(call.args)
    values: dict[str, ast.expr | Default] = dict(zip(parameters.ordered, positional, strict=False))
    surplus = positional[len(parameters.ordered) :]
    if parameters.rest is not None:
        at = surplus[0] if surplus else call
        values[parameters.rest] = ast.copy_location(ast.Tuple(elts=surplus, ctx=ast.Load()), at)
    elif surplus:
        return Unbindable(f"it takes {len(parameters.ordered)} positional arguments, and {len(positional)} are given")
    by_keyword = {
        mangled(name, parameters.private_class): name for name in parameters.positional + parameters.keyword_only
    }
    for word in call.keywords:
        name = by_keyword.get(word.arg or "")
        if name is None:
            if parameters.keywords is not None:
                return None
            return Unbindable(f"it has no parameter {word.arg!r} that a keyword could fill")
        if name in values:
            return Unbindable(f"the parameter {name!r} is given twice")
        values[name] = word.value
    for name in parameters.ordered + parameters.keyword_only:
        if name not in values:
            if not parameters.has_default(name):
                return Unbindable(f"the parameter {name!r} has no default and is not given")
            values[name] = Default(name)
    if parameters.keywords is not None:
        values[parameters.keywords] = ast.copy_location(ast.Dict(keys=[], values=[]), call)
    return Bound(tuple(values.items()))
