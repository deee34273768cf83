"""Slots, dataclasses and generics as owners of a method."""

import dataclasses
import typing

from subject import tailrec


@dataclasses.dataclass(slots=True, frozen=True)
class State(typing.Generic[typing.TypeVar("T")]):
    left: int
    total: int = 0

    @tailrec
    async def run(self):
        if self.left == 0:
            return self
        return await State(self.left - 1, self.total + self.left).run()


async def main():
    return await State(4).run()


async def deep():
    return (await State(2000).run()).total


DEEP = 2001000
