"""Only type-checked: the decorators keep every signature, for mypy and for pyright."""

from collections.abc import AsyncGenerator, AsyncIterator, Generator
from typing import Generic, TypeVar, assert_type

from loom import Return, TailCall, tailrec, tailstream, transition

T = TypeVar("T")


@tailrec
async def total(n: int, acc: float = 0.0, *, scale: int = 1) -> float:
    if n == 0:
        return acc
    return await total(n - 1, acc + n, scale=scale)


@tailrec(blocks="step")
async def with_options(n: int) -> str:
    if n == 0:
        return "end"
    return await with_options(n - 1)


@tailrec
def sync(n: int) -> list[int]:
    if n == 0:
        return [n]
    return sync(n - 1)


@tailrec
async def generic(n: int, item: T) -> T:
    if n == 0:
        return item
    return await generic(n - 1, item)


@tailstream
async def stream(n: int) -> AsyncIterator[str]:
    yield str(n)
    if n:
        async for item in stream(n - 1):
            yield item


@tailstream
async def full_stream(n: int) -> AsyncGenerator[int, None]:
    yield n
    if n:
        async for item in full_stream(n - 1):
            yield item


@tailstream
def generator(n: int) -> Generator[int, str, bool]:
    got = yield n
    if not got:
        return False
    return (yield from generator(n - 1))


@tailrec(group="pair")
async def ping(n: int) -> bytes:
    return b"" if n == 0 else await pong(str(n - 1))


@tailrec(group="pair")
async def pong(text: str) -> bytes:
    return await ping(int(text))


class Session(Generic[T]):
    def __init__(self, item: T) -> None:
        self.item = item

    @tailrec
    async def run(self, n: int) -> T:
        if n == 0:
            return self.item
        return await self.run(n - 1)

    @classmethod
    @tailrec
    async def make(cls, n: int) -> str:
        if n == 0:
            return cls.__name__
        return await cls.make(n - 1)

    @staticmethod
    @tailrec
    def count(n: int) -> int:
        if n == 0:
            return n
        return Session.count(n - 1)


async def check() -> None:
    assert_type(await total(3), float)
    assert_type(await total(3, 1.0, scale=2), float)
    assert_type(await with_options(1), str)
    assert_type(sync(1), list[int])
    assert_type(await generic(1, b"x"), bytes)
    assert_type([item async for item in stream(1)], list[str])
    assert_type(await full_stream(1).asend(None), int)
    assert_type(await ping(1), bytes)
    assert_type(await Session("x").run(1), str)
    assert_type(await Session.make(1), str)
    assert_type(Session.count(1), int)
    delta = transition(total)
    assert_type(delta.is_async, bool)
    bound: dict[str, object] = delta.bind(1)
    out = delta.step(bound)
    assert_type(out if isinstance(out, TailCall | Return) else await out, TailCall | Return)


def read(out: TailCall | Return) -> object:
    return out.arguments if isinstance(out, TailCall) else out.value
