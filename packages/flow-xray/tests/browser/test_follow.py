"""The page that follows a journal, in a browser: it is updated, keeps the selection, and ends."""

import threading
from contextlib import contextmanager

import pytest
from flow_xray import trace
from flow_xray._cli.follow import Follower, server_of

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.timeout(120)]


@contextmanager
def served(path):
    with server_of(Follower([str(path)]), "secret") as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/secret/"
        finally:
            server.shutdown()
            thread.join()


def test_the_page_grows_with_the_journal_keeps_the_selection_and_ends(chromium, tmp_path, shoot):
    path = tmp_path / "run.xray"
    context = chromium.new_context()
    page = context.new_page()
    page.set_default_timeout(15_000)
    complaints = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    with served(path) as url:
        with trace.capture(name="live", journal=path):
            with trace.span("first"):
                pass
            with trace.span("second") as second:
                pass
            page.goto(f"{url}#span={second.id}")
            page.locator("#follow", has_text="live").wait_for()
            page.locator("header").get_by_text("running", exact=True).wait_for()
            with trace.span("third"):
                pass
            page.get_by_text("third").first.wait_for()
            assert f"span={second.id}" in page.url
            shoot(page, "follow")
        page.locator("#follow", has_text="finished").wait_for()
        page.locator("header").get_by_text("done", exact=True).wait_for()
    context.close()
    assert complaints == []
