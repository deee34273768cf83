"""Plain functions: loops with else, match, conditional tails."""
# reports: iterator-released

from subject import tailrec


@tailrec
def gcd(a, b):
    return a if b == 0 else gcd(b, a % b)


@tailrec
def f(items, acc=()):
    for i, item in enumerate(items):
        match item:
            case int() if item < 0:
                return f(items[i + 1 :], acc + (-item,))
            case "again":
                return f(items[i + 1 :], acc)
    else:
        return acc


def main():
    return gcd(48, 36), f([1, -2, "again", -3, 4])
