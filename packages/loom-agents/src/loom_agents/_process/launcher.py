"""Run one command that cannot outlive the process that started it.

This is a separate program, started in a new session with
`python -I -S launcher.py FD LIMITS COMMAND...`. FD is one end of a socket pair; the caller holds
the other end. LIMITS is a list such as `CORE=0,CPU=60` of resources for `setrlimit`; they are set
here, because a hook between fork and exec is not safe in a process with threads. The launcher sends
the command's exit code through the socket and then waits. When the caller's end closes, because it
has read the code or because the caller was killed with SIGKILL, the launcher kills its process
group, itself included. So tests of a killed process never run beside those of a resumed run, and a
process id is never used after it could belong to another process.
"""

import os
import resource
import signal
import socket
import subprocess
import sys
import threading


def main() -> None:
    """Start the command, report its exit code, and kill the group when the other end is closed."""
    line = socket.socket(fileno=int(sys.argv[1]))
    line.set_inheritable(False)
    threading.Thread(target=_end_with, args=(line,), daemon=True).start()
    signal.signal(signal.SIGTERM, _ignore)  # the group may get SIGTERM; a handler, unlike SIG_IGN, is not inherited
    for limit in filter(None, sys.argv[2].split(",")):
        name, _, number = limit.partition("=")
        kind = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(kind)[1]
        value = int(number) if hard == resource.RLIM_INFINITY else min(int(number), hard)
        resource.setrlimit(kind, (value, value))
    try:
        code = subprocess.Popen(sys.argv[3:]).wait()  # noqa: S603 - the command comes from the agent's own code
    except OSError as exc:
        sys.stderr.write(f"cannot start {sys.argv[3]}: {exc.strerror}.\n")
        sys.stderr.flush()
        code = 127
    line.sendall(f"{code}\n".encode())
    threading.Event().wait()


def _ignore(*_: object) -> None:
    """Keep running, to report how the command ends."""


def _end_with(line: socket.socket) -> None:
    try:
        while line.recv(64):
            pass
    finally:  # a caller that was killed before it read the code resets the connection instead of closing it
        os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
