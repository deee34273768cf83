import asyncio
import hashlib
import hmac
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from loom_ops._errors import LoomOpsError
from loom_ops._notify.webhook import SIGNATURE_HEADER, send_webhook, signature


def verify_signature(secret: str, body: bytes, header: str, *, now: int) -> bool:
    """Return whether a body was signed with the secret in the last five minutes."""
    found = re.fullmatch(r"t=([0-9]{1,15}),v1=([0-9a-f]{64})", header)
    if found is None or abs(now - int(found[1])) > 300:
        return False
    digest = hmac.new(secret.encode(), found[1].encode() + b"." + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(digest, found[2])


@pytest.fixture
def receiver():
    got: list[tuple[dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((dict(self.headers), self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(500 if "broken" in self.path else 204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", got
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_receiver_can_verify_the_sender_and_the_time(receiver: Any) -> None:
    url, got = receiver
    event = {"event": "approval.requested", "run_id": "inc-001", "text": "ü"}
    assert asyncio.run(send_webhook(url, event, secret="s3cret", clock=lambda: 1000.9)) == 204
    headers, body = got[0]
    assert json.loads(body) == event
    header = headers[SIGNATURE_HEADER]
    assert verify_signature("s3cret", body, header, now=1100)
    assert not verify_signature("other", body, header, now=1100)
    assert not verify_signature("s3cret", body + b" ", header, now=1100)
    assert not verify_signature("s3cret", body, header, now=2000)
    assert not verify_signature("s3cret", body, header.replace("1000", "1001"), now=1100)
    assert signature("s3cret", body, 1000) == header


def test_without_a_secret_nothing_is_signed(receiver: Any) -> None:
    url, got = receiver
    asyncio.run(send_webhook(url, {}, secret=None))
    assert SIGNATURE_HEADER not in got[0][0]


@pytest.mark.parametrize(
    "target",
    ["/broken?token=hunter2", "http://user:hunter2@127.0.0.1:1/?token=hunter2", "not a url hunter2", "http://[hunter2"],
)
def test_a_failed_delivery_is_reported_in_one_line_without_secrets(receiver: Any, target: str) -> None:
    url = receiver[0] + target if target.startswith("/") else target
    with pytest.raises(LoomOpsError, match="cannot notify") as caught:
        asyncio.run(send_webhook(url, {}, secret="s"))
    if "://user" in target or "token=" in target:
        assert "hunter2" not in str(caught.value)
