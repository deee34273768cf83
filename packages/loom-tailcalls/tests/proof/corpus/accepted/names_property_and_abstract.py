"""`@property` above a plain tail-recursive getter; `@abc.abstractmethod` above a default
implementation.
"""

import abc

from subject import log, tailrec


class Tree(abc.ABC):
    def __init__(self, parent=None):
        self.parent = parent

    @abc.abstractmethod
    @tailrec
    def depth(self, acc=0):
        return acc if self.parent is None else self.parent.depth(acc + 1)


class Leaf(Tree):
    def depth(self, acc=0):
        log("leaf", acc)
        return super().depth(acc)


def main():
    try:
        Tree()
    except TypeError as error:
        log(str(error)[:30])
    return Leaf(Leaf(Leaf())).depth(), Tree.depth.__isabstractmethod__
