"""A lambda has no name of its own."""
# code: LT002

from subject import tailrec

f = tailrec(lambda n: f(n - 1))
