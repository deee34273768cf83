"""The page in Chromium: watch a run, decide about its call, lose the connection."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.needs("chromium")

PRODUCT = Path(__file__).parent / "product_process.py"
SHOTS = Path(__file__).parents[4] / "build" / "screenshots"


@pytest.fixture(scope="module")  # not the session: playwright keeps an event loop running until it is closed
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


class Served:
    def __init__(self, database: Path) -> None:
        self.database = database
        self.port = 0

    def start(self) -> None:
        command = [sys.executable, str(PRODUCT), str(self.database), str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.address, self.token = self.process.stdout.readline().split()
        self.port = int(self.address.rstrip("/").rpartition(":")[2])

    def end(self, how: int = signal.SIGTERM) -> None:
        self.process.send_signal(how)
        self.process.communicate(timeout=20)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    server = Served(tmp_path / "runs.sqlite")
    server.start()
    yield server
    if server.process.poll() is None:
        server.end()


@pytest.fixture
def open_page(chromium: Any, served: Served) -> Iterator[Callable[..., Any]]:
    """Open the page; errors in it and requests to other servers fail the test."""
    problems: list[str] = []
    contexts: list[Any] = []

    def opened(*, theme: str = "light", width: int = 1200, token: bool = True) -> Any:
        context = chromium.new_context(viewport={"width": width, "height": 860}, color_scheme=theme)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: problems.append(f"error: {error}"))
        page.on(
            "console",
            lambda message: (
                problems.append(message.text)
                if message.type == "error"
                and "Failed to load resource" not in message.text
                and "ERR_" not in message.text
                else None
            ),
        )
        page.on(
            "request",
            lambda request: (
                problems.append(request.url) if not request.url.startswith((served.address, "data:")) else None
            ),
        )
        page.goto(f"{served.address}#token={served.token}" if token else served.address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert problems == []


def shoot(page: Any, name: str) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png")


def start(page: Any, message: str) -> None:
    page.get_by_label("message").fill(message)
    page.get_by_role("button", name="Start").click()
    page.get_by_label("timeline").wait_for()  # the run's own view: the list of all requests has an article as well
    page.get_by_role("article").wait_for()


def test_a_run_is_started_watched_approved_by_a_click_and_answered(open_page: Any, served: Served) -> None:
    page = open_page()
    page.get_by_text("No runs yet.").wait_for()
    assert "token" not in page.url
    start(page, "the <b>file</b>")
    request = page.get_by_role("article", name="approval run-0#r1")
    assert "it touches" in request.inner_text()
    assert '"text": "the <b>file</b>"' in request.inner_text()
    assert "$ touch 'a file' 'it'\\''s'" in request.inner_text()
    assert "undo\nuntouch" in request.inner_text()
    assert "who\noncall" in request.inner_text()
    page.get_by_text("1 to decide").wait_for()
    shoot(page, "serve-approval")
    request.get_by_label("note").fill("go on")
    request.get_by_role("button", name="Approve").click()
    page.get_by_text("Done: touched the <b>file</b>").wait_for()
    page.get_by_label("timeline").get_by_text("touch done").wait_for()
    page.get_by_text("Decided (1)").click()
    page.get_by_text("approve by local (http)").wait_for()
    assert page.get_by_text("go on").count() == 1
    page.get_by_text("1 to decide").wait_for(state="hidden")
    shoot(page, "serve-answered")
    page.get_by_label("message").fill("again")
    page.get_by_label("message").press("Control+Enter")
    page.get_by_role("article", name="approval run-0#r2").get_by_role("button", name="Deny").click()
    page.get_by_text("Done: not run, and not waiting for a decision").wait_for()


def test_arguments_are_edited_and_invalid_json_is_reported(open_page: Any) -> None:
    page = open_page()
    start(page, "one")
    page.get_by_role("button", name="Edit arguments").click()
    page.get_by_label("arguments as JSON").fill("{")
    page.get_by_role("button", name="Approve as edited").click()
    page.get_by_role("alert").get_by_text("The arguments are not JSON").wait_for()
    page.get_by_label("arguments as JSON").fill('{"text": "two"}')
    page.get_by_role("button", name="Approve as edited").click()
    page.get_by_text("Done: touched two").wait_for()


def test_an_edited_request_is_shown_as_a_difference_and_a_stale_page_cannot_approve_it(
    open_page: Any, served: Served
) -> None:
    page, stale = open_page(), open_page(theme="dark")
    start(page, "for two people\nline 2\nline 3 <b>\u202egood")
    stale.get_by_label("waiting for approval").get_by_role("button", name="run-0").click()
    stale.get_by_role("button", name="Approve", exact=True).wait_for()
    stale.route("**/v1/runs/run-0", lambda route: route.abort())  # it does not learn of the edit
    page.get_by_role("button", name="Edit arguments").click()
    page.get_by_label("arguments as JSON").fill('{"text": "for two people\\nline 2\\nline 3 <b>evil"}')
    page.get_by_role("button", name="Propose these arguments").click()
    edit = page.get_by_label("edited", exact=True)
    edit.get_by_text("edited by local").wait_for()
    shown = edit.inner_text()
    assert "- text: line 3 <b>\\u202egood" in shown
    assert "+ text: line 3 <b>evil" in shown
    assert "2 people must still approve" in shown
    assert page.get_by_label("arguments as JSON").count() == 0
    assert "\u202e" not in page.locator("body").inner_text()
    shoot(page, "serve-edited")
    stale.get_by_role("button", name="Approve", exact=True).click()
    stale.get_by_role("alert").get_by_text("are not those you saw").wait_for()


def test_two_pages_show_the_same_and_a_second_decision_is_refused(open_page: Any) -> None:
    one, two = open_page(), open_page(theme="dark", width=700)
    start(one, "both")
    two.get_by_label("waiting for approval").get_by_role("article").wait_for()
    shoot(two, "serve-dark-narrow")
    two.get_by_label("waiting for approval").get_by_role("button", name="run-0").click()
    two.get_by_role("button", name="Approve", exact=True).wait_for()
    one.get_by_role("button", name="Approve", exact=True).click()
    for page in (one, two):
        page.get_by_text("Done: touched both").wait_for()
        assert page.get_by_role("button", name="Approve", exact=True).count() == 0
    lines = [page.get_by_label("timeline").get_by_role("listitem").all_inner_texts() for page in (one, two)]
    assert lines[0] == lines[1]


def test_a_page_reconnects_without_a_gap_or_a_repeat(open_page: Any, served: Served) -> None:
    page = open_page()
    start(page, "line")
    before = page.get_by_label("timeline").get_by_role("listitem").all_inner_texts()
    served.end(signal.SIGKILL)
    page.get_by_text("connection lost, reconnecting").wait_for()
    served.start()
    page.get_by_text("This server asks for a token.").wait_for()  # it is another server, which knows nobody yet
    page.get_by_label("token").fill(served.token)
    page.get_by_role("button", name="Enter").click()
    page.get_by_role("button", name="Approve", exact=True).click()
    page.get_by_text("Done: touched line").wait_for()
    page.get_by_label("timeline").get_by_text("touch done").wait_for()
    after = page.get_by_label("timeline").get_by_role("listitem").all_inner_texts()
    assert after[: len(before) - 1] == before[:-1]
    assert after[-1].endswith("(wait)")


def test_a_run_is_cancelled_by_a_click_and_its_trace_opens(open_page: Any, served: Served) -> None:
    page = open_page()
    page.get_by_label("message").fill("slow")
    page.get_by_role("button", name="Start").click()
    page.get_by_label("timeline").get_by_text("slow started").wait_for()
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Trace").click()
    opened.value.wait_for_selector("header")
    opened.value.close()
    page.get_by_role("button", name="Cancel run").click()
    page.get_by_label("timeline").get_by_text("run is cancelled").wait_for()


def test_without_a_token_the_page_asks_for_one(open_page: Any, served: Served) -> None:
    page = open_page(token=False)
    page.get_by_text("This server asks for a token.").wait_for()
    page.get_by_label("token").fill("wrong")
    page.get_by_role("button", name="Enter").click()
    page.get_by_text("cannot authenticate the request").wait_for()
    page.get_by_label("token").fill(served.token)
    page.get_by_role("button", name="Enter").click()
    page.get_by_role("button", name="New run").wait_for()
    page.reload()
    page.get_by_role("button", name="New run").wait_for()
