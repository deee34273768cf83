"""Tabs, semicolons, backslashes and form feeds in the source."""

from subject import tailrec


@tailrec
async def f(n):
	x = n; y = \
		x
	if n == 0: return x, y

	return await f(n - 1)


async def main():
    return await f(2)
