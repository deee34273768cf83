"""Stack-safe tail calls: write the recursion, run the loop.

    from loom import tailrec

    @tailrec
    async def agent_loop(state):
        if state.done:
            return state
        event = await run_next_step(state)
        return await agent_loop(state.apply(event))

* `tailrec` and `tailstream` compile a function; `TailCallError` explains why one is refused.
* `explain_tailcalls` reports how it was compiled.
* `transition` returns the outcome of one step, for a driver that stores each step.

Everything else is loaded when it is first used, so importing this package is cheap.
"""

from __future__ import annotations

from loom._decorators import tailrec, tailstream
from loom._errors import BlockScopeWarning, LoomError, TailCallError

TYPE_CHECKING = False  # see `_decorators`
if TYPE_CHECKING:
    from loom._explain import explain_tailcalls
    from loom._transition import Return, TailCall, Transition, transition

    __version__: str

__all__ = [
    "BlockScopeWarning",
    "LoomError",
    "Return",
    "TailCall",
    "TailCallError",
    "Transition",
    "explain_tailcalls",
    "tailrec",
    "tailstream",
    "transition",
]

_HOMES = {
    "Return": "_transition",
    "TailCall": "_transition",
    "Transition": "_transition",
    "explain_tailcalls": "_explain",
    "transition": "_transition",
}


def __getattr__(name: str) -> object:
    """Load the module of a public name at its first use (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version

        return version("loom-tailcalls")
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the lazy names as well."""
    return sorted({*globals(), *_HOMES})
