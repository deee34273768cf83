"""Read all of a server's stderr, because a full pipe would block it, and keep the end."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import IO, Final

__all__ = ["StderrTail"]

_SIZE_BYTES: Final = 4096


class StderrTail:
    """Hold the last 4 KB that a server wrote to stderr.

    Attributes:
        size_bytes: The number of bytes written in total.
        ended: Set at the end of the stream: no process has the pipe open for writing any more.
    """

    def __init__(self) -> None:
        self.size_bytes = 0
        self.ended = asyncio.Event()
        self._tail = bytearray()

    @property
    def text(self) -> str:
        """The end of the output; its first line may be incomplete."""
        return bytes(self._tail[-_SIZE_BYTES:]).decode("utf-8", "replace").strip()

    @asynccontextmanager
    async def capture(self) -> AsyncIterator[IO[str]]:
        """Yield the file for the server's stderr; close it as soon as the server has a copy."""
        read_end, write_end = os.pipe()
        self.ended.clear()
        with os.fdopen(write_end, "w") as stderr:
            reader = asyncio.StreamReader(limit=1 << 16)
            transport, _ = await asyncio.get_running_loop().connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_end, "rb", buffering=0)
            )
            draining = asyncio.create_task(self._drain(reader))
            try:
                yield stderr
            finally:
                draining.cancel()
                await asyncio.gather(draining, return_exceptions=True)
                transport.close()

    async def _drain(self, reader: asyncio.StreamReader) -> None:
        while piece := await reader.read(1 << 16):
            self.size_bytes += len(piece)
            self._tail += piece
            if len(self._tail) > 4 * _SIZE_BYTES:
                del self._tail[:-_SIZE_BYTES]
        self.ended.set()
