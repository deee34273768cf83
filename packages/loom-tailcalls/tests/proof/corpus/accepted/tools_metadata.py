"""Names, module, docstring, annotations, first line, file and argument names stay."""

import inspect

from subject import tailrec


class C:
    @tailrec
    async def f(self, n: int, /, *items: str, key: "str" = "k", **more: float) -> "tuple":
        """Doc of f."""
        inner = n
        if n == 0:
            return inner
        return await self.f(n - 1)


async def main():
    f, code = C.f, C.f.__code__
    return (
        f.__name__, f.__qualname__, f.__module__, f.__doc__, sorted(f.__annotations__), str(inspect.signature(f)),
        code.co_name, code.co_qualname, code.co_firstlineno, code.co_filename == __file__, code.co_argcount,
        code.co_posonlyargcount, code.co_kwonlyargcount, code.co_varnames[:5], f.__defaults__, f.__kwdefaults__,
        inspect.iscoroutinefunction(f), inspect.isfunction(f), f.__globals__ is globals(),
    )  # fmt: skip
