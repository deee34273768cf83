"""Private names used as locals, globals and free variables of a method are mangled alike."""

from subject import tailrec


class Safe:
    @tailrec
    async def open(self, n):
        __left = n - 1
        if n == 0:
            return sorted(name for name in Safe.open.__code__.co_varnames if "left" in name)
        return await self.open(__left)


async def main():
    return await Safe().open(2)
