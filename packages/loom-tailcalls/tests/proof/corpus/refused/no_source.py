"""Code made by `exec` has no source."""
# code: LT003

from subject import tailrec


exec("async def f(n):\n    return await f(n - 1)\n")
tailrec(f)
