"""A class is not a function."""
# code: LT001

from subject import tailrec


@tailrec
class C:
    pass
