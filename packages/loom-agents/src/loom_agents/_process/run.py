"""Run a command with a timeout in a process group; keep a limited part of its output."""

import asyncio
import contextlib
import functools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from loom_agents._process import launcher

# The environment variables that a command gets: no keys or tokens of this process.
PASSED_ON = ("PATH", "HOME", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "TERM", "VIRTUAL_ENV", "USER")

_LAST_OUTPUT_S = 1.0
_LAUNCHER_ENDS_S = 6.0
_LAUNCHER = (sys.executable, "-I", "-S", str(Path(launcher.__file__)))
_LOST = 1_000_000  # no exit code is as large
_LOST_TEXT = b"\n[the command killed the process that started it; how it ended is not known]\n"


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
        launcher_killed: Whether the command killed the process that started it, so that its exit
            code is not known (-9).
        errors: Standard error, shortened as `output` is, when it was asked for apart.
    """

    exit_code: int | None
    output: bytes
    output_bytes: int
    is_truncated: bool
    timed_out: bool
    duration_ms: int
    launcher_killed: bool = False
    errors: bytes = b""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limit the resources of a command; the kernel enforces the limits.

    On macOS, some of these limits have no effect. The number of processes is not limited for root.

    Args:
        cpu_s: Processor time of each process.
        file_bytes: The size of each file that it writes.
        open_files: Open files of each process.
        memory_bytes: Private memory of each process. Address space, which some programs reserve
            and never use, is limited to 16 times of it.
        processes: Processes and threads in addition to those that run on the machine when the
            command starts.
    """

    cpu_s: int = 600
    file_bytes: int = 1_000_000_000
    open_files: int = 1024
    memory_bytes: int = 2_000_000_000
    processes: int = 1024

    def as_argument(self) -> str:
        """Return the limits for the launcher, without core files, which could contain secrets."""
        limits = {"CORE": 0, "CPU": self.cpu_s, "FSIZE": self.file_bytes, "NOFILE": self.open_files}
        limits |= {"DATA": self.memory_bytes, "AS": 16 * self.memory_bytes, "NPROC": _tasks() + self.processes}
        return ",".join(f"{name}={number}" for name, number in limits.items())


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
    network: bool = True,
    errors_apart: bool = False,
    on_output: Callable[[bytes], None] | None = None,
) -> Ended:
    """Run a command to its end, its timeout, or the cancellation of this task.

    In all three cases no process that it started is left, and none is left when this process is
    killed with SIGKILL. Where processes cannot be found by their ancestors (macOS), those that left
    the command's process group are left.

    Args:
        command: Program and arguments; no shell is used.
        folder: The working directory.
        timeout_s: Seconds until the group is killed.
        max_output_bytes: The most bytes of output to keep.
        stdin: The standard input.
        environment: Variables in addition to `passed_on`.
        passed_on: The names of the variables of this process that the command gets.
        limits: Limits for the resources of the command; by default `Limits()`.
        grace_s: Seconds at the timeout between SIGTERM and SIGKILL; 0 sends no SIGTERM.
        network: Whether the command may use the network. False leaves it its own loopback, where
            the platform can do that (see `can_leave_network`).
        errors_apart: Keep standard error in `Ended.errors` and not in the output.
        on_output: Called with each piece of standard output when it arrives, also with those that
            `max_output_bytes` omits. It must be quick and must not raise.
    """
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    started = time.monotonic()
    capture, errors = _Capture(max_output_bytes, on_output), _Capture(max_output_bytes)
    code = None
    with ours:
        with theirs, tempfile.TemporaryFile() as stdin_file:
            stdin_file.write(stdin)
            stdin_file.seek(0)
            limit = (limits or Limits()).as_argument()
            net = "on" if network or not can_leave_network() else "off"
            starter = (*_LAUNCHER, str(theirs.fileno()), limit, net)
            process = subprocess.Popen(  # noqa: S603, ASYNC220 - no shell; starting it takes a millisecond
                (*starter, *command),
                stdin=stdin_file,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE if errors_apart else subprocess.STDOUT,
                cwd=folder,
                env={**_environment(passed_on), **(environment or {})},
                start_new_session=True,
                pass_fds=(theirs.fileno(),),
            )
        draining = {asyncio.create_task(capture.drain(process.stdout))}
        if errors_apart:
            draining.add(asyncio.create_task(errors.drain(process.stderr)))
        try:
            async with asyncio.timeout(timeout_s):
                code = await _exit_code(ours)
        except TimeoutError:
            if grace_s:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGTERM)  # the launcher passes it on
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(grace_s):
                        await _exit_code(ours)
        finally:
            ours.close()  # the launcher waits for this; now it kills whatever the command has started
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_LAUNCHER_ENDS_S)
            # Until it is waited for, its id cannot be that of another process.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            # A process that left the group may still hold the pipe; its output is not waited for.
            try:
                await asyncio.wait(draining, timeout=_LAST_OUTPUT_S)
            finally:  # a task that is being cancelled may not wait
                for task in draining:
                    task.cancel()
    duration_ms = round((time.monotonic() - started) * 1000)
    is_lost = code == _LOST
    return Ended(
        -signal.SIGKILL if is_lost else code,
        capture.output() + (_LOST_TEXT if is_lost else b""),
        capture.total,
        capture.omitted > 0,
        code is None,
        duration_ms,
        is_lost,
        errors.output(),
    )


async def _exit_code(line: socket.socket) -> int:
    """Read the exit code that the launcher reports; `_LOST` when the command killed its
    launcher.
    """
    text = b""
    while not text.endswith(b"\n"):
        piece = await asyncio.get_running_loop().sock_recv(line, 64)
        if not piece:
            return _LOST
        text += piece
    return _LOST if text == b"lost\n" else int(text)


@functools.cache
def can_leave_network() -> bool:
    """Report whether a command can be kept from the network here: on Linux, where namespaces are
    permitted.
    """
    if sys.platform != "linux":
        return False
    probe = subprocess.run((*_LAUNCHER, "probe"), check=False, capture_output=True)  # noqa: S603 - our own program
    return probe.returncode == 0


def _tasks() -> int:
    """Return the number of processes and threads on this machine."""
    try:
        return int(Path("/proc/loadavg").read_text().split()[3].split("/")[1])
    except (OSError, ValueError, IndexError):
        return 4096


def _environment(passed_on: Sequence[str]) -> dict[str, str]:
    found = {name: os.environ[name] for name in passed_on if name in os.environ}
    if "PATH" in found:  # a relative folder would be one of the workspace
        found["PATH"] = os.pathsep.join(filter(os.path.isabs, found["PATH"].split(os.pathsep)))
    return found


class _Capture:
    """Keep the beginning and the end of a stream in bounded memory."""

    def __init__(self, limit: int, on_output: Callable[[bytes], None] | None = None) -> None:
        self._on_output = on_output
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
                if self._on_output is not None:
                    self._on_output(piece)
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
