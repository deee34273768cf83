"""Run one command that cannot outlive the process that started it.

This is a separate program, started in a new session with
`python -I -S launcher.py FD LIMITS NETWORK COMMAND...`. FD is one end of a socket pair; the caller
holds the other end. LIMITS is a list such as `CORE=0,CPU=60` of resources for `setrlimit`; they are
set here, because a hook between fork and exec is not safe in a process with threads. NETWORK is
`on` or `off`.

Theory of operation
-------------------
Two processes stand between the caller and the command:

    caller ──socket──> keeper ──pipe──> starter ──> command (a process group of its own)

* The *keeper* is a subreaper (Linux): a process whose parent has ended becomes its child, also one
  that left the group and the session. When the caller's end of the socket closes, because it has
  read the code or because the caller was killed with SIGKILL, the keeper kills every process below
  it, then its own group, itself included. So tests of a killed process never run beside those of a
  resumed run, and a process id is never used after it could belong to another process.
* The *starter* sets the limits and leaves the network, then starts the command and writes its exit
  code. If the command kills its parent, that is the starter; the keeper reports it (`lost`).

Not covered: a command that looks for the keeper and kills it. Then the caller kills the group of
the keeper, and processes that left it remain.
"""

import contextlib
import ctypes
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

_SET_CHILD_SUBREAPER = 36  # prctl(2)
_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000  # unshare(2)
_SET_FLAGS, _UP = 0x8914, 1  # netdevice(7): SIOCSIFFLAGS, IFF_UP
_LAST_S = 5.0


def main() -> None:
    """Start the command, report how it ends, and kill all its processes when the other end is
    closed.
    """
    if sys.argv[1] == "probe":
        leave_network()
        return
    line = socket.socket(fileno=int(sys.argv[1]))
    line.set_inheritable(False)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    read, write = os.pipe()
    starter = os.fork()
    if starter == 0:
        line.close()
        os.close(read)
        _start(write, sys.argv[2], sys.argv[3], sys.argv[4:])
    os.close(write)
    threading.Thread(target=_end_with, args=(line,), daemon=True).start()
    lines: list[str] = []
    signal.signal(signal.SIGTERM, lambda *_: _pass_on(lines))
    with os.fdopen(read, encoding="ascii") as report:
        lines.append(report.readline().strip())
        code = report.readline().strip()
    with contextlib.suppress(ChildProcessError):
        os.waitpid(starter, 0)
    with contextlib.suppress(OSError):
        line.sendall(f"{code or 'lost'}\n".encode())
    while True:
        time.sleep(3600)


def _start(report: int, limits: str, network: str, command: list[str]) -> None:
    """Be the starter: write the command's process group and its exit code as two lines."""
    code = 127
    try:
        if network == "off":
            leave_network()
        for limit in filter(None, limits.split(",")):
            name, _, number = limit.partition("=")
            kind = getattr(resource, f"RLIMIT_{name}", None)
            if kind is not None:
                hard = resource.getrlimit(kind)[1]
                value = int(number) if hard == resource.RLIM_INFINITY else min(int(number), hard)
                resource.setrlimit(kind, (value, value))
        process = subprocess.Popen(command, process_group=0)  # noqa: S603 - the command comes from the agent's own code
        os.write(report, f"{process.pid}\n".encode())
        code = process.wait()
    except OSError as exc:
        sys.stderr.write(f"cannot start {command[0]}: {exc.strerror}.\n")
        sys.stderr.flush()
        os.write(report, b"0\n")
    os.write(report, f"{code}\n".encode())
    os._exit(0)


def leave_network() -> None:
    """Give this process a network with nothing but its own loopback.

    Raises:
        OSError: The platform does not permit it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.geteuid(), os.getegid()
    if libc.unshare(_NEW_NETWORK) != 0:  # only root may do this without a user namespace
        if libc.unshare(_NEW_USER | _NEW_NETWORK) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:  # noqa: PTH123 - pathlib is slow to import
                file.write(text)
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh14x", b"lo", _UP))


def _pass_on(lines: list[str]) -> None:
    """Send SIGTERM, which this process got, to the command's group; then report how it ends."""
    if lines and lines[0] not in ("", "0"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(int(lines[0]), signal.SIGTERM)


def _end_with(line: socket.socket) -> None:
    try:
        while line.recv(64):
            pass
    finally:  # a caller that was killed before it read the code resets the connection instead of closing it
        deadline = time.monotonic() + _LAST_S
        while _has_children() and time.monotonic() < deadline:
            for process in _below(os.getpid()):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.001)
        os.killpg(0, signal.SIGKILL)


def _has_children() -> bool:
    """Collect the children that have ended; report whether others are left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _below(ancestor: int) -> list[int]:
    """Return all processes that descend from a process; empty where there is no /proc."""
    parents: dict[int, int] = {}
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc"):  # noqa: PTH208 - pathlib is slow to import
            if name.isdigit():
                with contextlib.suppress(OSError, ValueError, IndexError):
                    file = os.open(f"/proc/{name}/stat", os.O_RDONLY)
                    try:
                        parents[int(name)] = int(os.read(file, 4096).rpartition(b")")[2].split()[1])
                    finally:
                        os.close(file)
    found: list[int] = []
    level = {ancestor}
    while level := {process for process, parent in parents.items() if parent in level}:
        found += level
    return found


if __name__ == "__main__":
    main()
