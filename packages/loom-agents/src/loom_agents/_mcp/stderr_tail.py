"""Read what a server writes to stderr, all of it, and keep only the end: a full pipe would stop the server."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import IO, Final

__all__ = ["LastWords"]

_KEPT: Final = 4096


class LastWords:
    """Hold the last few kilobytes that a server wrote to stderr.

    Attributes:
        size_bytes: How much it wrote in all.
        ended: Set when nobody holds the other end any more, which is when the server has died.
    """

    def __init__(self) -> None:
        self.size_bytes = 0
        self.ended = asyncio.Event()
        self._kept = bytearray()

    @property
    def text(self) -> str:
        """The end of it; the first line may be cut."""
        return bytes(self._kept[-_KEPT:]).decode("utf-8", "replace").strip()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[IO[str]]:
        """Give the file that a server writes to; close it with `close_ours` once the server has it."""
        ours, theirs = os.pipe()
        self.ended.clear()
        with os.fdopen(theirs, "w") as given:
            reader = asyncio.StreamReader(limit=1 << 16)
            transport, _ = await asyncio.get_running_loop().connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ours, "rb", buffering=0)
            )
            draining = asyncio.create_task(self._drain(reader))
            try:
                yield given
            finally:
                draining.cancel()
                await asyncio.gather(draining, return_exceptions=True)
                transport.close()

    async def _drain(self, reader: asyncio.StreamReader) -> None:
        while piece := await reader.read(1 << 16):
            self.size_bytes += len(piece)
            self._kept += piece
            if len(self._kept) > 4 * _KEPT:
                del self._kept[:-_KEPT]
        self.ended.set()
