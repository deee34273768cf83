"""A method that rebinds `self` and then calls through it."""

from subject import tailrec


class Node:
    def __init__(self, value, after=None):
        self.value, self.after = value, after

    @tailrec
    async def last(self, trail=()):
        trail += (self.value,)
        self = self.after
        if self is None:
            return trail
        return await self.last(trail)


async def main():
    return await Node(1, Node(2, Node(3))).last()


async def deep():
    node = None
    for value in range(2000):
        node = Node(value, node)
    return len(await node.last())


DEEP = 2000
