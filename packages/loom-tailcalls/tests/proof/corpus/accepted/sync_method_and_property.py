"""Methods of plain functions, and a property whose getter walks a list."""

from subject import tailrec


class Node:
    def __init__(self, value, after=None):
        self.value, self.after = value, after

    @tailrec
    def last(self):
        if self.after is None:
            return self.value
        return self.after.last()


def main():
    node = None
    for i in range(5):
        node = Node(i, node)
    return node.last()


def deep():
    node = None
    for i in range(3000):
        node = Node(i, node)
    return node.last()


DEEP = 0
