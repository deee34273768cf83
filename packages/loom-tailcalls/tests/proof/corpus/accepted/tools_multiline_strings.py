"""Strings over several lines keep their contents, wherever their lines begin."""

from subject import tailrec


class C:
    @tailrec
    async def f(self, n):
        text = """
column 0
        column 8 \
joined"""
        if n == 0:
            return text, f"""{n}
  x"""
        return await self.f(n - 1)


async def main():
    return await C().f(1)
