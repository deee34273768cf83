"""A secret sent to a host that a requester chose, or expanded from what a requester wrote."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.redteam.area import Area
from tests.redteam.site import loom_ops

AREA = Area(
    "secret_hosts",
    hole="replace('loom_ops._commands.secrets', 'Vault._check_destination', lambda *words, **more: None)",
)
_SECRET = "prod-" + "Zx81Qw72Er63"


@contextmanager
def _listener(redirect: str = "") -> Iterator[tuple[str, list[str]]]:
    got: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            got.append(str(self.headers) + self.path)
            self.send_response(302 if redirect else 200)
            if redirect:
                self.send_header("location", redirect)
            self.end_headers()

        def log_message(self, *words: Any) -> None:
            """Be quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}", got
    finally:
        server.shutdown()
        server.server_close()


def _runbook(
    folder: Path, url: str, *, header: str = "Bearer {secret.api}", secret: str = "", inputs: str = ""
) -> Path:
    (folder / "runbooks").mkdir()
    (folder / "loom-ops.toml").write_text("")
    path = folder / "runbooks/look.md"
    path.write_text(f"""---
loom: 1
title: Look
match: [look]
inputs:
  host: {{default: api.example.org}}
{inputs}secrets:
  api: {{env: API_VALUE{secret}}}
---
## Is it up {{#up}}

```check id=up
kind: http
url: "{url}"
headers: {{X-Auth: "{header}"}}
timeout: 5s
```
""")
    return path


def _supervise(folder: Path, **inputs: str) -> str:
    words = [word for name, value in inputs.items() for word in ("--input", f"{name}={value}")]
    environment = {"API_VALUE": _SECRET}
    command = ["supervise", "look", "--runbook", "look", "--run-id", "x", "--mock-llm", *words]
    ran = loom_ops(folder, *command, environment=environment)
    return ran.stdout + ran.stderr


def _sent(got: list[str]) -> str | None:
    return f"sent: {got[0][:80]!r}" if any(_SECRET in each for each in got) else None


@AREA.attempt("the host comes from an input")
def _(folder: Path) -> str | None:
    with _listener() as (host, got):
        _runbook(folder, "http://{host}/health")
        _supervise(folder, host=host)
    return _sent(got)


@AREA.attempt("the host comes from an input, the secret names its hosts")
def _(folder: Path) -> str | None:
    with _listener() as (host, got):
        _runbook(folder, "http://{host}/health", secret=", hosts: [api.example.org]")
        _supervise(folder, host=host)
    return _sent(got)


@AREA.attempt("the host of the secret is the user part of the URL")
def _(folder: Path) -> str | None:
    with _listener() as (host, got):
        _runbook(folder, "http://{host}/health", secret=", hosts: [api.example.org]")
        _supervise(folder, host=f"api.example.org@{host}")
    return _sent(got)


@AREA.attempt("an input refers to the secret")
def _(folder: Path) -> str | None:
    with _listener() as (host, got):
        _runbook(folder, f"http://{host}/health", header="{who}", inputs="  who: {default: me}\n")
        _supervise(folder, who="{secret.api}")
    return _sent(got)


@AREA.attempt("an input names the secret")
def _(folder: Path) -> str | None:
    with _listener() as (host, got):
        header = "{secret.{who}}"
        _runbook(folder, f"http://{host}/health", header=header, inputs="  who: {default: other}\n")
        _supervise(folder, who="api")
    return _sent(got)


@AREA.attempt("a redirect to another host")
def _(folder: Path) -> str | None:
    with _listener() as (other, got), _listener(f"http://{other}/") as (host, first):
        _runbook(folder, f"http://{host}/health")
        printed = _supervise(folder)
        if not _sent(first):
            return f"the attempt itself failed: the secret did not reach its own host: {printed[-300:]}"
    return _sent(got)


@AREA.attempt("lint does not name the runbook")
def _(folder: Path) -> str | None:
    path = _runbook(folder, "http://{host}/health")
    ran = loom_ops(folder, "lint", str(path))
    return None if "would send the secret 'api'" in ran.stdout + ran.stderr else f"lint: {ran.stdout[:200]}"
