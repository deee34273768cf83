"""A builtin has no body to compile."""
# code: LT001

from subject import tailrec


f = tailrec(len)
