"""A drill: a small faulty service on loopback, for trying a runbook in an empty folder.

Checks and commands are not simulated: the service is slow because its newest release is slow; the
rollback is a program that is started under allow rules; after it the service is fast. The folder of
the drill holds the programs (`bin/`) and one file, `state.json`: the releases, which of them is
deployed, which is slow, and every command with its time; a command replaces the file atomically.
The service reads it at each request, so it has the same state after a crash, in another process. It
listens on the same port as before, until the process that started it ends.
"""

from __future__ import annotations

import errno
import json
import os
import shlex
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final

from loom_ops._commands.allow_rules import Rules
from loom_ops._commands.rules_file import parse_rules
from loom_ops._errors import LoomOpsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Drill"]

SLOW_S: Final = 0.6
_RELEASES: Final = ["2026.11.1", "2026.11.2"]
_START: Final = '#!/bin/sh\nexec {python} -IS {program} {verb} "$@"\n'
_PROGRAM: Final = """\
import json, os, sys, time
folder, verb = os.path.dirname(os.path.abspath(__file__)), sys.argv.pop(1)
path = os.path.join(folder, "state.json")
state = json.load(open(path))
out = state["out"]
if verb == "rollback":
    if out == 0:
        sys.exit("there is no release before " + state["releases"][0])
    out -= 1
elif verb == "redeploy":
    out = len(state["releases"]) - 1
elif verb == "deploy":
    state["releases"] = state["releases"][: out + 1] + [sys.argv[2]]
    out += 1
state["out"] = out
state["commands"] = [*state.get("commands", []), [time.time(), " ".join([verb, *sys.argv[1:]])]]
with open(path + ".new", "w") as new:
    json.dump(state, new)
    new.flush()
    os.fsync(new.fileno())
os.replace(path + ".new", path)
print(sys.argv[1] + " is now at " + state["releases"][out])
"""


class Drill:
    """The drill of one folder. The folder is created when it does not exist.

    Args:
        folder: The folder of its programs and its state; it must be writable.

    Raises:
        LoomOpsError: The folder cannot be written, or its state is not that of a drill.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            (folder / "bin").mkdir(parents=True, exist_ok=True)
            if not self._state_file.exists():
                self._write({"releases": _RELEASES, "out": len(_RELEASES) - 1, "slow": _RELEASES[-1], "port": 0})
            program = folder.resolve() / "program.py"
            program.write_text(_PROGRAM)
            for verb in ("rollback", "redeploy", "restart", "deploy"):
                start = folder / "bin" / f"{verb}-service"
                quoted = {"python": shlex.quote(sys.executable), "program": shlex.quote(str(program))}
                start.write_text(_START.format(verb=verb, **quoted))
                start.chmod(0o755)
        except OSError as exc:
            raise LoomOpsError(f"cannot start a drill in {folder}: {(exc.strerror or str(exc)).lower()}.") from exc
        self._state()

    @property
    def rules(self) -> Rules:
        """The allow rules of the drill: its own programs, and nothing else."""
        text = """
allow:
  - {argv: [rollback-service, "{service}"], params: {service: "[a-z][a-z0-9-]{0,40}"}, timeout: 10m}
  - {argv: [redeploy-service, "{service}"], params: {service: "[a-z][a-z0-9-]{0,40}"}, timeout: 10m}
  - {argv: [restart-service, "{service}"], params: {service: "[a-z][a-z0-9-]{0,40}"}, timeout: 10m}
  - argv: [deploy-service, "{service}", "{version}"]
    params: {service: "[a-z][a-z0-9-]{0,40}", version: "[A-Za-z0-9][A-Za-z0-9._-]{0,60}"}
    timeout: 10m
"""
        rules = parse_rules(text, "the drill's rules")
        return Rules(rules.source, rules.rules, (str((self.folder / "bin").resolve()), "/usr/bin", "/bin"))

    @property
    def release(self) -> str:
        """The release that is deployed."""
        state = self._state()
        return str(state["releases"][state["out"]])

    @property
    def commands(self) -> list[tuple[float, str]]:
        """The commands that were run: the time of each (seconds since 1970), and its words."""
        return [(float(at), str(words)) for at, words in self._state().get("commands", [])]

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Serve until the block ends; the value is the address.

        Raises:
            LoomOpsError: The port is in use, perhaps by another process that serves this drill.
        """
        server = self._listen()
        state = self._state()
        if state["port"] != server.server_address[1]:
            self._write({**state, "port": server.server_address[1]})
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True, name="drill")
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/health"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def answer(self) -> tuple[float, bytes]:
        """Return how many seconds an answer takes, and its body."""
        state = self._state()
        release = state["releases"][state["out"]]
        delay_s = SLOW_S if release == state["slow"] else 0.01
        return delay_s, json.dumps({"release": release, "status": "ok"}).encode() + b"\n"

    # ------------------------------------------------------------------ inside

    def _listen(self) -> ThreadingHTTPServer:
        drill = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                delay_s, body = drill.answer()
                time.sleep(delay_s)
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server names it
                del format, args

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                """Print nothing: clients that disconnect are expected."""

        port = int(self._state()["port"])
        try:
            return Server(("127.0.0.1", port), Handler)
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE:
                raise LoomOpsError(f"cannot start the drill of {self.folder}: {exc.strerror}.") from exc
            raise LoomOpsError(
                f"cannot start the drill of {self.folder}: port {port} is in use, perhaps by another process that "
                f"drives this run. Stop it, or remove {self._state_file} to start over."
            ) from exc

    @property
    def _state_file(self) -> Path:
        return self.folder / "state.json"

    def _state(self) -> dict[str, Any]:
        try:
            state = json.loads(self._state_file.read_text())
            release = state["releases"][state["out"]]
        except (OSError, ValueError, LookupError, TypeError) as exc:
            raise LoomOpsError(
                f"cannot read the drill in {self.folder}: {exc}. Remove the folder to start over."
            ) from exc
        if not isinstance(release, str) or not isinstance(state.get("port"), int):
            raise LoomOpsError(
                f"cannot read the drill in {self.folder}: its state is invalid. Remove the folder to start over."
            )
        return dict(state)

    def _write(self, state: dict[str, Any]) -> None:
        new = self._state_file.with_suffix(f".{os.getpid()}")
        new.write_text(json.dumps(state))
        new.replace(self._state_file)
