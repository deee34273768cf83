"""Linked objects: the next step runs on another object, whose own method is found."""

from subject import log, tailrec


class Node:
    def __init__(self, value, after=None):
        self.value, self.after = value, after

    @tailrec
    async def total(self, acc=0):
        acc += self.value
        if self.after is None:
            return acc
        return await self.after.total(acc)


class Loud(Node):
    async def total(self, acc=0):
        log("loud", self.value)
        return await super().total(acc)


async def main():
    return await Node(1, Loud(2, Node(3, Loud(4)))).total()
