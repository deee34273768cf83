"""`match` inside a loop: `break` and `continue` are the loop's."""
# reports: iterator-released

from subject import tailrec


@tailrec
async def f(commands, acc=0):
    for c in commands:
        match c:
            case ("add", x):
                return await f(commands[1:], acc + x)
            case "skip":
                continue
            case "stop":
                break
    else:
        return "no stop", acc
    return acc


async def main():
    return await f([("add", 2), ("add", 1), "stop", 7]), await f([("add", 1), "skip"])
