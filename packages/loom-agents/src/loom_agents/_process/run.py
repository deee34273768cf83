"""Run a command with a timeout in a process group; keep a limited part of its output."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from loom_agents._process import launcher

# The environment variables that a command gets: no keys or tokens of this process.
PASSED_ON = ("PATH", "HOME", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "TERM", "VIRTUAL_ENV", "USER")

_LAST_OUTPUT_S = 1.0


@dataclass(frozen=True, slots=True)
class Ended:
    """Describe how a command ended.

    Args:
        exit_code: The exit code; negative for a signal, None when the command was killed at the
            timeout.
        output: Standard output and error in the order of writing; when that is too long, its
            beginning and its end, with a line between them that tells how much is omitted.
        output_bytes: The number of bytes that the command wrote.
        is_truncated: Whether something is omitted from `output`.
        timed_out: Whether the command was killed at the timeout.
        duration_ms: How long it ran.
    """

    exit_code: int | None
    output: bytes
    output_bytes: int
    is_truncated: bool
    timed_out: bool
    duration_ms: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Limit the resources of a command; the kernel enforces the limits.

    Args:
        cpu_s: Processor time of each process.
        file_bytes: The size of each file that it writes.
        open_files: Open files of each process.
    """

    cpu_s: int = 600
    file_bytes: int = 1_000_000_000
    open_files: int = 1024

    def as_argument(self) -> str:
        """Return the limits for the launcher, without core files, which could contain secrets."""
        return f"CORE=0,CPU={self.cpu_s},FSIZE={self.file_bytes},NOFILE={self.open_files}"


async def run_process(
    command: Sequence[str],
    *,
    folder: Path,
    timeout_s: float,
    max_output_bytes: int,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
    passed_on: Sequence[str] = PASSED_ON,
    limits: Limits | None = None,
    grace_s: float = 0.0,
) -> Ended:
    """Run a command to its end, its timeout, or the cancellation of this task.

    In all three cases no process of its group is left, and none is left when this process is killed
    with SIGKILL.

    Args:
        command: Program and arguments; no shell is used.
        folder: The working directory.
        timeout_s: Seconds until the group is killed.
        max_output_bytes: The most bytes of output to keep.
        stdin: The standard input.
        environment: Variables in addition to `passed_on`.
        passed_on: The names of the variables of this process that the command gets.
        limits: Limits for the resources of the command.
        grace_s: Seconds at the timeout between SIGTERM and SIGKILL; 0 sends no SIGTERM.
    """
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    started = time.monotonic()
    capture = _Capture(max_output_bytes)
    code = None
    with ours:
        with theirs, tempfile.TemporaryFile() as stdin_file:
            stdin_file.write(stdin)
            stdin_file.seek(0)
            limit = "" if limits is None else limits.as_argument()
            starter = (sys.executable, "-I", "-S", str(Path(launcher.__file__)), str(theirs.fileno()), limit)
            process = subprocess.Popen(  # noqa: S603, ASYNC220 - no shell; starting it takes a millisecond
                (*starter, *command),
                stdin=stdin_file,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={**_environment(passed_on), **(environment or {})},
                start_new_session=True,
                pass_fds=(theirs.fileno(),),
            )
        draining = asyncio.create_task(capture.drain(process.stdout))
        try:
            async with asyncio.timeout(timeout_s):
                code = await _exit_code(ours)
        except TimeoutError:
            if grace_s:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(grace_s):
                        await _exit_code(ours)
        finally:
            # The launcher waits for this, so the group still exists and its id cannot be that of
            # another one.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            # A process that left the group may still hold the pipe; its output is not waited for.
            await asyncio.wait({draining}, timeout=_LAST_OUTPUT_S)
            draining.cancel()
    duration_ms = round((time.monotonic() - started) * 1000)
    return Ended(code, capture.output(), capture.total, capture.omitted > 0, code is None, duration_ms)


async def _exit_code(line: socket.socket) -> int:
    """Read the exit code that the launcher reports; -9 when the launcher itself was killed."""
    text = b""
    while not text.endswith(b"\n"):
        piece = await asyncio.get_running_loop().sock_recv(line, 64)
        if not piece:
            return -signal.SIGKILL
        text += piece
    return int(text)


def _environment(passed_on: Sequence[str]) -> dict[str, str]:
    return {name: os.environ[name] for name in passed_on if name in os.environ}


class _Capture:
    """Keep the beginning and the end of a stream in bounded memory."""

    def __init__(self, limit: int) -> None:
        self._max_head = limit // 4
        self._max_tail = limit - self._max_head
        self._head = bytearray()
        self._tail = bytearray()
        self.total = 0

    async def drain(self, pipe: IO[bytes] | None) -> None:
        """Read until the end of the stream, or until cancelled; then close the pipe."""
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        try:
            while piece := await reader.read(1 << 16):
                self.total += len(piece)
                room = self._max_head - len(self._head)
                self._head += piece[:room]
                self._tail += piece[room:]
                if len(self._tail) > 2 * self._max_tail:
                    del self._tail[: -self._max_tail]
        finally:
            transport.close()

    @property
    def omitted(self) -> int:
        return max(0, self.total - self._max_head - self._max_tail)

    def output(self) -> bytes:
        gap = f"\n[... {self.omitted} bytes omitted ...]\n".encode() if self.omitted else b""
        return bytes(self._head + gap + self._tail[-self._max_tail :])
