"""A protocol session: one function per state, and each names the next state by a tail call.

The functions of one group call each other in constant stack, so a session may go on for as long as
the peer likes.

    python3 examples/protocol_session.py
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from loom import tailrec


@dataclass(slots=True)
class Session:
    """The lines that come in, and a log of what went out."""

    lines: AsyncIterator[str]
    sent: list[str] = field(default_factory=list)
    messages: int = 0

    async def read(self) -> str:
        """Wait for the next line; the empty text when the peer is gone."""
        return await anext(self.lines, "")


@tailrec(group="session")
async def greet(session: Session) -> str:
    """Wait for a greeting."""
    line = await session.read()
    if not line:
        return "closed before the greeting"
    if not line.startswith("HELLO "):
        session.sent.append("500 say HELLO first")
        return await greet(session)
    session.sent.append("250 hello")
    return await command(session, peer=line.removeprefix("HELLO "))


@tailrec(group="session")
async def command(session: Session, *, peer: str) -> str:
    """Wait for a command."""
    words = (await session.read()).split()
    match words:
        case ["DATA"]:
            return await data(session, [], peer=peer)
        case ["RESET"]:
            session.sent.append("250 start again")
            return await greet(session)
        case [] | ["QUIT"]:
            return f"{peer} left after {session.messages} messages"
        case _:
            session.sent.append(f"500 what is {words[0]}")
            return await command(session, peer=peer)


@tailrec(group="session")
async def data(session: Session, lines: list[str], *, peer: str) -> str:
    """Collect a message up to a line with a single dot."""
    line = await session.read()
    if line not in {".", ""}:
        return await data(session, [*lines, line], peer=peer)
    session.messages += 1
    session.sent.append(f"250 took {len(lines)} lines")
    return await command(session, peer=peer)


async def typed(*lines: str) -> AsyncIterator[str]:
    """Stand for a connection."""
    for line in lines:
        await asyncio.sleep(0)
        yield line


async def main() -> None:
    """Talk once, then for a long time."""
    session = Session(typed("RESET", "HELLO ada", "DATA", "one", "two", ".", "DANCE", "QUIT"))
    print(await greet(session))
    print(*session.sent, sep="\n")
    chatty = Session(typed("HELLO bob", *["DATA", "x", "."] * 3_000))
    print(await greet(chatty))


if __name__ == "__main__":
    asyncio.run(main())
