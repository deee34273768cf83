"""Retry with backoff: the attempt is the state, and the tail call stands where the retry is
decided.

`async with` opens one connection per attempt: ``blocks="step"`` says that the block covers one
step, so the connection is closed before the next attempt begins. Without the word the same code
runs the same way and warns.

    python3 examples/retry_with_backoff.py
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from loom import explain_tailcalls, tailrec


class Flaky:
    """A service that answers at the third request."""

    def __init__(self, answers_at: int) -> None:
        """Say which request is the first to succeed."""
        self.requests = 0
        self.answers_at = answers_at

    @asynccontextmanager
    async def connection(self) -> AsyncIterator["Flaky"]:
        """Open and close one connection."""
        print("open")
        try:
            yield self
        finally:
            print("close")

    async def request(self) -> str:
        """Fail until it does not."""
        self.requests += 1
        if self.requests < self.answers_at:
            raise ConnectionError(f"request {self.requests} failed")
        return f"answer to request {self.requests}"


@tailrec(blocks="step")
async def fetch(service: Flaky, *, attempt: int = 1, delay_s: float = 0.001, limit: int = 5) -> str:
    """Ask until there is an answer or the attempts are used up."""
    async with service.connection() as connection:
        try:
            return await connection.request()
        except ConnectionError as error:
            if attempt == limit:
                raise
            print(f"attempt {attempt}: {error}, again in {delay_s * 1000:.0f} ms")
            await asyncio.sleep(delay_s)
            return await fetch(service, attempt=attempt + 1, delay_s=delay_s * 2, limit=limit)


async def main() -> None:
    """Succeed once, give up once, and show what the compiler reports."""
    print(await fetch(Flaky(answers_at=3)))
    try:
        await fetch(Flaky(answers_at=9), limit=2)
    except ConnectionError as error:
        print("gave up:", error)
    for deviation in explain_tailcalls(fetch, as_json=True)["deviations"]:
        print("reported:", deviation["id"], "in line", deviation["line"])


if __name__ == "__main__":
    asyncio.run(main())
