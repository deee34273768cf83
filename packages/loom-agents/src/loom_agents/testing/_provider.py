"""A provider that gives prepared replies, on loopback."""

import json
import os
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["FakeProvider"]


class FakeProvider:
    """Serve an OpenAI-compatible API on loopback; each request gets the next prepared reply.

    Attributes:
        url: The base URL for a client.
        requests: The bodies of the requests so far.
        plays: Functions that send the remaining replies; each is called with the handler of its
            request.
    """

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.plays: list[Callable[[BaseHTTPRequestHandler], None]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.requests.append(json.loads(body))
                outer.plays.pop(0)(self)

            def log_message(self, *_: object) -> None:
                """Stay silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @classmethod
    @contextmanager
    def installed(cls) -> "Iterator[FakeProvider]":
        """Serve during the block, and let `openai-chat:` and `ollama:` models find the server by
        environment.
        """
        server = cls()
        environment = {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "sk-test", "OLLAMA_BASE_URL": server.url}
        try:
            with patch.dict(os.environ, environment):
                yield server
        finally:
            server.close()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def streams(self, *deltas: dict[str, Any], finish: str = "stop", cut: bool = False) -> None:
        """Play one reply of the given pieces; `cut` closes the connection before its end."""

        def play(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.send_header("content-type", "text/event-stream")
            handler.end_headers()
            choices: list[dict[str, Any]] = [
                {"index": 0, "delta": {"role": "assistant", **delta}, "finish_reason": None} for delta in deltas
            ]
            choices.append({"index": 0, "delta": {}, "finish_reason": finish})
            for choice in choices[:-1] if cut else choices:
                self._send(handler, {"choices": [choice]})
            if not cut:
                counts = {"prompt_tokens": 1000, "completion_tokens": 20, "total_tokens": 1020}
                self._send(
                    handler, {"choices": [], "usage": {**counts, "prompt_tokens_details": {"cached_tokens": 600}}}
                )
                handler.wfile.write(b"data: [DONE]\n\n")

        self.plays.append(play)

    def calls(self, *calls: tuple[str, str, str]) -> None:
        """Play a reply that asks for tools, given as (id, name, arguments as text)."""
        self.streams(
            {
                "tool_calls": [
                    {"index": i, "id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
                    for i, (call_id, name, arguments) in enumerate(calls)
                ]
            },
            finish="tool_calls",
        )

    def fails(self, status: int, message: str = "no", **headers: str) -> None:
        """Play an error."""

        def play(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(status)
            handler.send_header("content-type", "application/json")
            for name, value in headers.items():
                handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(json.dumps({"error": {"message": message, "type": "x", "code": None}}).encode())

        self.plays.append(play)

    def says(self, body: bytes) -> None:
        """Play a reply that is no stream of JSON."""

        def play(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.send_header("content-type", "text/event-stream")
            handler.end_headers()
            handler.wfile.write(body)

        self.plays.append(play)

    @staticmethod
    def _send(handler: BaseHTTPRequestHandler, chunk: dict[str, Any]) -> None:
        whole = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-5-mini", **chunk}
        handler.wfile.write(f"data: {json.dumps(whole)}\n\n".encode())
        handler.wfile.flush()
