"""Members of a group may have different signatures, defaults and closures."""
# exact: refused

from subject import log, tailrec


def make(prefix):
    @tailrec(group="session")
    async def hello(peer, *, retries=1):
        log(prefix, "hello", peer, retries)
        if retries:
            return await hello(peer, retries=retries - 1)
        return await talk([1, 2], who=peer)

    @tailrec(group="session")
    async def talk(messages, /, who, **kw):
        log(prefix, "talk", messages, kw)
        if not messages:
            return await bye()
        return await talk(messages[1:], who=who, last=messages[0])

    @tailrec(group="session")
    async def bye(code=0):
        return prefix, "bye", code

    return hello


async def main():
    return await make("a")("x"), await make("b")("y", retries=0)
