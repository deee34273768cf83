"""A small service on loopback that can be made slow, broken, endless or silent."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Service:
    """What a test sets, and what the service was asked."""

    def __init__(self) -> None:
        self.status = 200
        self.delay_s = 0.0
        self.body = b'{"queue": {"depth": 7}, "parts": [1, 2.5], "state": "fine"}'
        self.headers: dict[str, str] = {}
        self.endless = False
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
def service() -> Iterator[Service]:
    """Serve until the test is over."""
    state = Service()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append((self.command, self.path, dict(self.headers)))
            time.sleep(state.delay_s)
            self.send_response(state.status)
            for name, value in state.headers.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                self.wfile.write(state.body)
                while state.endless:
                    self.wfile.write(b"x" * 65_536)
            except OSError:
                pass

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield state
    server.shutdown()
    server.server_close()
    thread.join()
