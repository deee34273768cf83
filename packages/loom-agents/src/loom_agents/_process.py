"""Run a command under a timeout, in a process group that ends with it, and keep a bounded part of its output."""

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

from loom_agents import _launcher

# What a command needs to find its programs and its language. Keys and tokens of the agent are not among it.
PASSED_ON = ("PATH", "HOME", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "TERM", "VIRTUAL_ENV", "USER")

_LAST_OUTPUT_S = 1.0


@dataclass(frozen=True, slots=True)
class Ended:
    """Say how a command ended.

    Args:
        exit_code: None when it was stopped; negative for a signal.
        output: standard output and error as they came; when that is too long, the first quarter and the end with
            a line between them that says how much is left out.
        output_bytes: how much the command wrote in all.
        is_truncated: something is left out of `output`.
        timed_out: it was stopped because its time was over.
        duration_ms: how long it ran.
    """

    exit_code: int | None
    output: bytes
    output_bytes: int
    is_truncated: bool
    timed_out: bool
    duration_ms: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Say what a command may use; the kernel stops it there.

    Args:
        cpu_s: seconds of processor time, each process.
        file_bytes: the size of a file it writes.
        open_files: how many files it has open, each process.
    """

    cpu_s: int = 600
    file_bytes: int = 1_000_000_000
    open_files: int = 1024

    def said(self) -> str:
        """Return the limits as the launcher reads them; a core file, which could hold secrets, is never written."""
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
    """Run a command to its end, its time-out, or the cancellation of this task.

    In all three cases no process of its group is left; nor is there one when this process is killed with SIGKILL.

    Args:
        command: program and arguments; no shell reads them.
        folder: where it runs.
        timeout_s: after this many seconds the group is killed.
        max_output_bytes: how much of the output to keep.
        stdin: what the command reads.
        environment: variables beside the few that are passed on; secrets of this process are not.
        passed_on: the names of those few.
        limits: what the command may use.
        grace_s: how long the group has, after SIGTERM, before it is killed.
    """
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    started = time.monotonic()
    kept = _Kept(max_output_bytes)
    code = None
    with ours:
        with theirs, tempfile.TemporaryFile() as given:
            given.write(stdin)
            given.seek(0)
            said = "" if limits is None else limits.said()
            launcher = (sys.executable, "-I", "-S", str(Path(_launcher.__file__)), str(theirs.fileno()), said)
            process = subprocess.Popen(  # noqa: S603, ASYNC220 - no shell; starting it takes a millisecond
                (*launcher, *command),
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={**_environment(passed_on), **(environment or {})},
                start_new_session=True,
                pass_fds=(theirs.fileno(),),
            )
        draining = asyncio.create_task(kept.drain(process.stdout))
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
            # The launcher waits for this, so the group still exists and its number cannot be somebody else's.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            # Whoever left the group may still hold the pipe; its output is not waited for.
            await asyncio.wait({draining}, timeout=_LAST_OUTPUT_S)
            draining.cancel()
    duration_ms = round((time.monotonic() - started) * 1000)
    return Ended(code, kept.output(), kept.total, kept.left_out > 0, code is None, duration_ms)


async def _exit_code(line: socket.socket) -> int | None:
    """Read the code that the launcher reports; None when the launcher itself died."""
    text = b""
    while not text.endswith(b"\n"):
        piece = await asyncio.get_running_loop().sock_recv(line, 64)
        if not piece:
            return -signal.SIGKILL
        text += piece
    return int(text)


def _environment(passed_on: Sequence[str]) -> dict[str, str]:
    return {name: os.environ[name] for name in passed_on if name in os.environ}


class _Kept:
    """Keep the beginning and the end of a stream in bounded memory."""

    def __init__(self, most: int) -> None:
        self._most_head = most // 4
        self._most_tail = most - self._most_head
        self._head = bytearray()
        self._tail = bytearray()
        self.total = 0

    async def drain(self, pipe: IO[bytes] | None) -> None:
        """Read until nobody can write any more, or until cancelled; the pipe is closed then."""
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        try:
            while piece := await reader.read(1 << 16):
                self.total += len(piece)
                room = self._most_head - len(self._head)
                self._head += piece[:room]
                self._tail += piece[room:]
                if len(self._tail) > 2 * self._most_tail:
                    del self._tail[: -self._most_tail]
        finally:
            transport.close()

    @property
    def left_out(self) -> int:
        return max(0, self.total - self._most_head - self._most_tail)

    def output(self) -> bytes:
        gap = f"\n[... {self.left_out} bytes left out ...]\n".encode() if self.left_out else b""
        return bytes(self._head + gap + self._tail[-self._most_tail :])
