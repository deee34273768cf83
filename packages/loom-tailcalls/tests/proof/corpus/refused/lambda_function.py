"""A lambda has no name of its own."""

from subject import tailrec


f = tailrec(lambda n: f(n - 1))
#           ^ LT002
