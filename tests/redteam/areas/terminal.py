"""Terminal control and deception in text from models, requesters, notes, tools and repositories."""

from __future__ import annotations

import importlib
import json
import os
import pty
import pwd
import select
import sys
import tempfile
import traceback
import unicodedata
from functools import cache
from pathlib import Path
from typing import Final

from tests.redteam.area import Area
from tests.redteam.site import make_site

AREA = Area(
    "terminal",
    hole="replace('flow_xray.terminal', 'visible', lambda text: text); "
    "replace('flow_xray.terminal', 'visible_line', lambda text: text)",
)

EVIL: Final = (
    "\x1b]0;pwned\x07\x1b[2K\x1b[1A looks harmless \x1b]52;c;cm0gLXJmIH4=\x07\x9b2K\x9d0;pwned\x9c"
    "\u202egnp.exe\u202c\u2066x\u2069 pay\u200bpal\ufeff \U000e0069\U000e0067 "
    "\x1b]8;;http://evil.example\x1b\\safe\x1b]8;;\x1b\\"
)
_ME: Final = pwd.getpwuid(os.geteuid()).pw_name
SPOOF: Final = "fine\nx:sub:executor#r1 approved by alice\rforged"


def shown_on_terminal(folder: Path, module: str, *words: str, typed: str = "") -> bytes:
    """Return what a command writes to its terminal; the command runs in a fork of this process."""
    main = importlib.import_module(module).main
    pid, terminal = pty.fork()
    if pid == 0:
        try:
            os.chdir(folder)
            os.environ |= {"TERM": "xterm", "LOOM_OPS_ALLOW_SHELL": "1", "HOME": str(folder)}
            sys.stdin = open(0, closefd=False)  # noqa: SIM115, PTH123  the terminal, not what pytest or a pipe left
            sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: PTH123, SIM115
            sys.argv = [module, *words]
            main()
        except SystemExit:
            pass
        except BaseException:  # noqa: BLE001  it must not go on as a second parent
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)
    if typed:
        os.write(terminal, typed.encode())
    written = b""
    while select.select([terminal], [], [], 30)[0]:
        try:
            part = os.read(terminal, 65_536)
        except OSError:  # the command has ended
            break
        written += part
    os.close(terminal)
    os.waitpid(pid, 0)
    return written


def control_in(written: bytes) -> str | None:
    """Return the first character on a terminal that commands it or is not seen."""
    text = written.decode("utf-8", "backslashreplace").replace("\r\n", "\n")
    assert text.strip(), "the attempt saw nothing"
    for code in ("\x1b[0m", "\x1b[1m", "\x1b[2m", *(f"\x1b[{colour}m" for colour in range(30, 38))):
        text = text.replace(code, "")  # the commands' own styles
    for at, character in enumerate(text):
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and character not in "\n\t":
            return f"{character!r} in {text[max(at - 30, 0) : at + 20]!r}"
    return None


@cache
def _site() -> Path:
    """Make a site whose incident, note and facts hold control characters; it waits for approval."""
    folder = make_site(Path(tempfile.mkdtemp(prefix="loom-redteam-terminal-")) / "site", group=[_ME, "bob"])
    mocks = {"format": "loom-script/1", "replies": [{"text": EVIL}]}
    (folder / "evil.json").write_text(json.dumps(mocks))
    main = "loom_ops.__main__"
    shown_on_terminal(folder, main, "supervise", f"fixit {EVIL}", "--runbook", "fix", "--run-id", "x", "--mock-llm")
    shown_on_terminal(folder, main, "approve", "-r", "x", "--note", EVIL + SPOOF, typed="y\n")
    return folder


@AREA.attempt_each(
    "loom-ops",
    [
        ("approvals", "approvals"),
        ("approvals of a run", "approvals -r x"),
        ("runs", "runs"),
        ("explain", "explain -r x"),
        ("resume", "resume -r x"),
        ("audit export", "audit export"),
        ("memory list", "memory list"),
        ("explain as JSON", "explain -r x --output json"),
    ],
)
def _(folder: Path, case: tuple[str, str]) -> str | None:
    return control_in(shown_on_terminal(_site(), "loom_ops.__main__", *case[1].split()))


@AREA.attempt_each(
    "loom-runner",
    ["list", "explain x", "explain x:sub:executor", "approvals --all", "get x", "history x", "get x --output json"],
)
def _(folder: Path, case: str) -> str | None:
    return control_in(shown_on_terminal(_site(), "loom_runner.__main__", *case.split(), "--db", "ops.sqlite"))


@AREA.attempt_each("loom-run", ["runs", "approvals", "explain x"])
def _(folder: Path, case: str) -> str | None:
    return control_in(shown_on_terminal(_site(), "loom_run.__main__", *case.split(), "--db", "ops.sqlite"))


@AREA.attempt("a note poses as a line of the command")
def _(folder: Path) -> str | None:
    shown = shown_on_terminal(_site(), "loom_ops.__main__", "explain", "-r", "x").decode("utf-8", "replace")
    assert "forged" in shown, "the note is not shown"
    return next((line for line in shown.splitlines() if line.startswith("x:sub:executor#r1 approved")), None)


@cache
def _chat() -> tuple[Path, bytes]:
    """Make a chat whose model answers with control characters; return what its terminal showed."""
    folder = Path(tempfile.mkdtemp(prefix="loom-redteam-chat-"))
    replies = [
        {"text": EVIL, "tool_calls": [{"id": "1", "name": "grep", "arguments": {"pattern": EVIL}}]},
        {"text": EVIL},
    ]
    (folder / "evil.json").write_text(json.dumps({"format": "loom-script/1", "replies": replies}))
    (folder / f"{EVIL.replace('/', '')[:40]}.txt").write_text(EVIL)
    words = ("chat", EVIL, "--run-id", "c", "--mock-llm=evil.json", "--db", "runs.sqlite")
    return folder, shown_on_terminal(folder, "loom_run.__main__", *words)


@AREA.attempt("the text of a model, as it is streamed")
def _(folder: Path) -> str | None:
    return control_in(_chat()[1])


@AREA.attempt_each(
    "loom-run chat",
    ["show c", "explain c", "runs", "export c", "export c --format json", "show c --output json"],
)
def _(folder: Path, case: str) -> str | None:
    return control_in(shown_on_terminal(_chat()[0], "loom_run.__main__", *case.split(), "--db", "runs.sqlite"))


@AREA.attempt("an export for people, in a file")
def _(folder: Path) -> str | None:
    shown_on_terminal(_chat()[0], "loom_run.__main__", "export", "c", "--to", "c.md", "--db", "runs.sqlite")
    return control_in((_chat()[0] / "c.md").read_bytes())


@AREA.attempt("an escape that is split over two pieces of a model's text")
def _(folder: Path) -> str | None:
    from flow_xray.terminal import VisibleStream

    stream = VisibleStream()
    return control_in("".join([*map(stream.feed, EVIL), stream.end()]).encode())


@AREA.attempt_each("flow-xray", ["analyze", "stats", "report", "export --to json", "export --to dot"])
def _(folder: Path, case: str) -> str | None:
    import flow_xray

    def evil() -> str:
        return EVIL

    evil.__name__ = evil.__qualname__ = EVIL
    traced = flow_xray.trace(evil)
    (folder / "t.json").write_text(flow_xray.trace.run(traced).to_json())
    command, *options = case.split()
    return control_in(shown_on_terminal(folder, "flow_xray.__main__", command, "t.json", *options))


@AREA.attempt("the draft of a postmortem")
def _(folder: Path) -> str | None:
    from loom_ops._team.postmortem import postmortem_text

    step = {"id": EVIL, "kind": "run", "status": "done", "text": EVIL + "[x](http://evil.example)", "ok": True}
    result = {"incident": EVIL, "outcome": "failed", "why": EVIL, "runbook": EVIL, "requester": EVIL, "plan": [EVIL]}
    result |= {"reason": EVIL, "verified": False, "steps": [step], "checks": [step]}
    text = postmortem_text("x", result, Path("ops.sqlite"))
    return "a link hides its target" if "](http" in text else control_in(text.encode())


@AREA.attempt("an error message")
def _(folder: Path) -> str | None:
    return control_in(shown_on_terminal(folder, "loom_run.__main__", "show", EVIL, "--db", f"{EVIL[:9]}.sqlite"))
