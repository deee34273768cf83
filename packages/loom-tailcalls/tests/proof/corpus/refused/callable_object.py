"""An object with `__call__` is not a function."""
# code: LT001

import functools

from subject import tailrec


f = tailrec(functools.partial(print, 1))
