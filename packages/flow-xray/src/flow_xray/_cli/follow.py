"""`flow-xray view --follow`: a page on this machine that is updated while a journal grows.

A small web server on 127.0.0.1, on a free port, under a random path. A request with another Host is
refused: it comes from a web page whose name resolves to this machine (DNS rebinding). The page is
the one that `view` writes, with a second, small script that polls once a second whether the journal
has grown, and reloads; the selected span and view are kept in the address of the page. The script
stops polling when every session of the journal is closed, or its process has ended.
"""

import argparse
import base64
import json
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Final

from flow_xray._cli.base import DONE, is_json_output, print_output, usage_error
from flow_xray._errors import FlowXrayError
from flow_xray._read.liveness import is_alive
from flow_xray._result import read_trace_files

_PID: Final = re.compile(rb'^\d+:\{"t":"flow-xray","version":[^\n]*?"pid":(\d+)', re.MULTILINE)
_GONE: Final = "-gone"
_SCRIPT: Final = """
(() => {
  const mark = document.createElement("div");
  mark.id = "follow";
  mark.setAttribute("role", "status");
  Object.assign(mark.style, {position: "fixed", right: "12px", bottom: "10px", padding: "3px 10px", zIndex: "1000",
    borderRadius: "12px", font: "12px system-ui, sans-serif", background: "#333", color: "#fff", opacity: "0.85",
    pointerEvents: "none"});
  document.body.append(mark);
  const seen = document.currentScript.dataset.version;
  const isBusy = () => /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement?.tagName ?? "");
  const ask = async () => {
    let state;
    try {
      state = await (await fetch("state", {cache: "no-store"})).json();
    } catch {
      mark.textContent = "the viewer was stopped";
      return;
    }
    const isOutdated = state.version !== seen;
    if (isOutdated && !isBusy() && !document.hidden) return location.reload();
    mark.textContent = isOutdated ? "new data" : state.is_finished ? state.ending : "live";
    if (!state.is_finished || isOutdated) setTimeout(ask, state.wait_ms);
  };
  ask();
})();
"""


class Follower:
    """The page of some files; a request rebuilds it when they have changed.

    Args:
        paths: Journals, or other files that `flow-xray view` reads.
        prices: A price file, or None.
        clock: A monotonic time in seconds.
    """

    def __init__(
        self, paths: Sequence[str], prices: str | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._paths = list(paths)
        self._prices = prices
        self._clock = clock
        self._lock = Lock()
        self._version = ""
        self._page = ""
        self._took_s = 0.0
        self._is_closed = False

    def page(self) -> str:
        """Return the page of the present content of the files.

        Raises:
            FlowXrayError: A file cannot be read.
        """
        with self._lock:
            version = self._current_version()
            if version != self._version:
                before = self._clock()
                result = read_trace_files(self._paths).priced(self._prices)
                journal = result.meta.get("journal")
                self._is_closed = not isinstance(journal, dict) or journal["is_complete"] is True
                if not self._is_closed and not version.endswith(_GONE):
                    result.meta.setdefault("status", "running")
                self._page = with_script(result.to_html(), version)
                self._took_s = self._clock() - before
                self._version = version
            return self._page

    def state(self) -> dict[str, object]:
        """Return the JSON that the script of the page polls."""
        version = self._current_version()
        is_closed = self._is_closed and version == self._version
        is_gone = not is_closed and version.endswith(_GONE)
        return {
            "version": version,
            "is_finished": is_closed or is_gone,
            "ending": "finished" if is_closed else "interrupted: its process is gone",
            "wait_ms": max(1_000, round(self._took_s * 5_000)),
        }

    def _current_version(self) -> str:
        """Return a key of the page's content: file sizes, and whether a process is writing."""
        sizes = "-".join(str(os.stat(path).st_size) if os.path.exists(path) else "none" for path in self._paths)  # noqa: PTH110,PTH116  paths as given
        if self._is_closed and self._version.removesuffix(_GONE) == sizes:
            return self._version
        return sizes if self._is_running() else sizes + _GONE

    def _is_running(self) -> bool:
        for path in self._paths:
            try:
                with open(path, "rb") as stream:  # noqa: PTH123  as above
                    if any(is_alive(int(pid)) for pid in _PID.findall(stream.read())):
                        return True
            except OSError:
                continue
        return False


def with_script(page: str, version: str) -> str:
    """Return a page with the script that reloads it, and a policy that allows this script."""
    digest = base64.b64encode(sha256(_SCRIPT.encode()).digest()).decode("ascii")
    head, tail = page[:2_000], page[2_000:]
    head = head.replace("script-src '", f"script-src 'sha256-{digest}' '", 1)
    head = head.replace("connect-src 'none'", "connect-src 'self'", 1)
    return (head + tail).replace(
        "</body></html>", f'<script data-version="{version}">{_SCRIPT}</script></body></html>', 1
    )


def server_of(follower: Follower, token: str) -> ThreadingHTTPServer:
    """Return a server on a free port of this machine, with the page at `/<token>/`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            port = server.server_address[1]
            if self.headers.get("Host") not in (f"127.0.0.1:{port}", f"localhost:{port}"):
                self._answer(HTTPStatus.MISDIRECTED_REQUEST, "text/plain", "This page is for this machine only.\n")
                return
            try:
                if self.path == f"/{token}/":
                    self._answer(HTTPStatus.OK, "text/html", follower.page())
                elif self.path == f"/{token}/state":
                    self._answer(HTTPStatus.OK, "application/json", json.dumps(follower.state()))
                else:
                    self._answer(HTTPStatus.NOT_FOUND, "text/plain", "No such page.\n")
            except FlowXrayError as error:
                self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain", f"{error}\n")

        def _answer(self, status: HTTPStatus, kind: str, text: str) -> None:
            content = text.encode("utf-8")
            self.send_response(status)
            for name, value in (
                ("Content-Type", f"{kind}; charset=utf-8"),
                ("Content-Length", str(len(content))),
                ("Cache-Control", "no-store"),
                ("X-Content-Type-Options", "nosniff"),
                ("X-Frame-Options", "DENY"),
                ("Referrer-Policy", "no-referrer"),
            ):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *_args: object) -> None:  # noqa: A002  the name is the interface's
            """Print nothing; the terminal belongs to the user."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Ignore a browser that closes its connection."""
            if not isinstance(sys.exception(), ConnectionError):
                super().handle_error(request, client_address)  # type: ignore[arg-type]  # passed on

    server = Server(("127.0.0.1", 0), Handler)
    return server


def follow(options: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C.

    Raises:
        FlowXrayError: A file cannot be read.
    """
    extra = [name for name in ("html", "json", "chrome", "speedscope", "context") if getattr(options, name)]
    if extra:
        return usage_error(
            f"cannot follow with --{extra[0]}: because the page is still growing. Leave one of them out."
        )
    follower = Follower(options.file, options.prices)
    follower.page()
    token = os.urandom(12).hex()
    with server_of(follower, token) as server:
        url = f"http://127.0.0.1:{server.server_address[1]}/{token}/"
        text = f"following {options.file[0]}: {url}  (Ctrl-C ends it)"
        print_output(json.dumps({"url": url}) if is_json_output(options) else text)
        server.serve_forever()
    return DONE
