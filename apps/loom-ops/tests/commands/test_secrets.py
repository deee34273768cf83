"""Two secrets in every permitted use: neither must be found anywhere afterwards."""

import functools
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from loom_ops._cli.main import cli
from loom_ops._commands.secrets import Vault
from loom_ops._errors import LoomOpsError
from loom_ops._runbook.model import SecretSource
from loom_ops._team import team as _team
from loom_ops._team import verifier as _verifier
from loom_runner.cli_base import run_command

ENV, FILE = "canary-env-51a7", "canary/file+c0ffee"

RUNBOOK = """\
---
kind: remedy
inputs: {url: {pattern: "http://.*"}}
secrets: {token: {env: CANARY_TOKEN}, key: {file: key.txt}}
---
```check id=echo
kind: http
url: "{url}"
headers: {X-Token: "{secret.token}", X-Key: "Bearer {secret.key}"}
measure: json.received
expect: "< 1"
```
```check id=there
kind: http
url: "{url}"
headers: {X-Token: "{secret.token}"}
body: "nothing like this"
```
```run id=shows undo=none timeout=30s
argv: [show-secrets, now]
env: {TOKEN: "{secret.token}", KEY: "{secret.key}"}
reason: it prints them
```
```run id=fails undo=none timeout=30s
argv: [show-secrets, and-fail]
```
"""


@pytest.fixture
def echo() -> Iterator[tuple[str, list[bytes]]]:
    """A service that echoes its headers and accepts notifications."""
    notifications: list[bytes] = []

    class Echo(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            received = f"{self.headers.get('X-Token')} {self.headers.get('X-Key')}"
            body = json.dumps({"received": received}).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            notifications.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/", notifications
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_secret_appears_only_where_it_is_used(
    tmp_path: Path, echo: tuple[str, list[bytes]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, notifications = echo
    programs = tmp_path / "bin"
    programs.mkdir()
    script = f"""#!/bin/sh
echo "$TOKEN $KEY" >> {tmp_path}/seen.txt
echo "token=$TOKEN key=$KEY"; cat {tmp_path}/key.txt; echo; cat {tmp_path}/key.txt >&2
[ "$1" = now ]
"""
    (programs / "show-secrets").write_text(script)
    (programs / "show-secrets").chmod(0o755)
    (tmp_path / "runbooks").mkdir()
    (tmp_path / "runbooks" / "canary.md").write_text(RUNBOOK)
    (tmp_path / "key.txt").write_text(f"{FILE}\n")
    rules = f"path: [{programs}, /usr/bin, /bin]\nallow: [{{argv: [show-secrets, '{{how}}'], params: {{how: now|and-fail}}, env: [TOKEN, KEY]}}]\n"
    (tmp_path / "ops.rules.yaml").write_text(rules)
    (tmp_path / "loom-ops.toml").write_text(f'[notify]\nwebhook = "{url}"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CANARY_TOKEN", ENV)
    monkeypatch.setenv("LOOM_OPS_ALLOW_SHELL", "1")
    monkeypatch.setattr(_team, "verifier_step", functools.partial(_verifier.verifier_step, round_s=0.02))
    output = ""

    def type(*words: str, code: int = 0) -> None:
        nonlocal output
        with pytest.raises(SystemExit) as ended:
            run_command(cli, words, name="loom-ops")
        output += "".join(capsys.readouterr())
        assert ended.value.code == code, output

    begin = ("supervise", "it leaks", "--runbook", "canary", "-r", "x", "--mock-llm", "-i", f"url={url}")
    type(*begin, "--trace", "one.html", code=3)
    type("approve", "-r", "x", "--note", "go")
    type("resume", "-r", "x", "--trace", "two.html", "--output", "json", code=3)
    type("approve", "-r", "x")
    type("resume", "-r", "x", "--trace", "three.html", "--output", "json", code=1)
    for run in ("x", "x:sub:executor", "x:sub:verifier"):
        type("explain", "-r", run)
        type("explain", "-r", run, "--output", "json")
    type("audit", "export")
    type("approvals", "--all")
    type("runbook", "canary", "--dry-run", "-i", f"url={url}")
    assert (tmp_path / "seen.txt").read_text() == f"{ENV} {FILE}\n \n", "the command was given them"
    assert "[secret]" in output and len(notifications) == 3 and (tmp_path / "postmortems" / "x.md").exists()
    places = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    del places[tmp_path / "seen.txt"], places[tmp_path / "key.txt"]
    assert {"ops.sqlite", "one.html", "two.html", "three.html"} <= {path.name for path in places}
    places |= {Path("terminal"): output.encode(), Path("webhook"): b"\n".join(notifications)}
    for secret in (ENV, FILE, FILE.replace("/", "\\/")):
        assert [str(path) for path, text in places.items() if secret.encode() in text] == []


def test_a_secret_that_no_step_has_used_is_masked(tmp_path: Path) -> None:
    (tmp_path / "key.txt").write_text(f"{FILE}\n")
    sources = {"key": SecretSource("key", 1, "file", "key.txt"), "none": SecretSource("none", 1, "env", "NOT_SET")}
    assert Vault(sources, tmp_path, {}).mask(f"cat: {FILE}") == "cat: [secret]"


def vault(tmp_path: Path, **values: str) -> Vault:
    sources = {name: SecretSource(name, 1, "env", name.upper()) for name in values}
    return Vault(sources, tmp_path, {name.upper(): value for name, value in values.items()})


def test_a_secret_with_another_one_as_its_prefix_is_masked_completely(tmp_path: Path) -> None:
    both = vault(tmp_path, short="hunter2", long="hunter2-and-more")
    assert both.mask("hunter2-and-more, hunter2") == "[secret], [secret]"


def test_each_line_of_a_secret_is_masked_but_not_its_short_lines(tmp_path: Path) -> None:
    key = vault(tmp_path, key="-----BEGIN-----\nabcdefgh\nx\n")
    assert key.mask("x: abcdefgh") == "x: [secret]"


def test_an_endless_secret_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LoomOpsError, match="cannot use the secret 'key': env KEY is too long"):
        vault(tmp_path, key="x" * 100_001).resolve("{secret.key}")
    assert len(vault(tmp_path, key="x" * 100_000).resolve("{secret.key}")) == 100_000
