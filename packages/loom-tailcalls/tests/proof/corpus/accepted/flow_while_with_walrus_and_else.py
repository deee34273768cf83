"""A walrus in a `while` condition, `continue` in the body, a tail call in its `else`, inside a
`for` with `else`.
"""

from subject import tailrec


@tailrec
def f(items, out=()):
    for outer in (0, 1):
        at = -1
        while (at := at + 1) < len(items):
            if items[at] % 2:
                continue
            if items[at] == 4:
                break
            return f(items[:at] + items[at + 1 :], (*out, items[at], outer))
        else:
            if outer:
                return out, items
    else:
        return "for else", out, items


def main():
    return f((1, 2, 3, 6, 5)), f((1, 2, 4, 6))
