"""`match` with guards, captures and classes; tail calls in several cases."""

from subject import tailrec


@tailrec
async def f(commands, acc=0):
    match commands:
        case []:
            return acc
        case [("add", x), *rest]:
            return await f(rest, acc + x)
        case [("mul", int(x)), *rest] if x:
            return await f(rest, acc * x)
        case ["stop" | "halt", *_]:
            return "stopped", acc
        case [{"set": value, **others}, *rest]:
            return await f(rest, value + len(others))
        case [_, *rest]:
            return await f(rest, acc)


async def main():
    return (
        await f([("add", 2), ("mul", 5), ("mul", 0), {"set": 3, "x": 1}, ("add", 1)]),
        await f([("add", 2), "halt", ("add", 9)]),
    )
