"""PEP 695 type parameters stay on the function and may be used in the body."""
# python: 3.12

from subject import tailrec


@tailrec
async def f[T](n: int, item: T) -> tuple[T, str]:
    if n == 0:
        return item, T.__name__
    return await f(n - 1, item)


class Box[K]:
    @tailrec
    async def get[V](self, n: int, value: V):
        if n == 0:
            return value, K.__name__, V.__name__
        return await self.get(n - 1, value)


async def main():
    return await f(2, "x"), f.__type_params__[0].__name__, await Box().get(2, 1)
