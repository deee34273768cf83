"""A real Chromium; a test fails when a page logs an error or requests another file."""

import importlib.util
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flow_xray import TraceResult

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


@pytest.fixture(scope="session")
def scenes() -> ModuleType:
    """The traces of `scenes.py`, which a test cannot import: the folder is no package."""
    spec = importlib.util.spec_from_file_location("flow_xray_scenes", Path(__file__).with_name("scenes.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def open_page(chromium: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Return a function that opens a trace (or the text of a page) and returns the page."""
    complaints: list[str] = []
    requests: list[str] = []
    contexts: list[Any] = []

    def open_trace(
        trace: TraceResult | str,
        *,
        hash: str = "",
        width: int = 1400,
        height: int = 900,
        theme: str = "light",
        view: str = "",
        wait: str = "header",
    ) -> Any:
        path = tmp_path / f"trace-{len(contexts)}.html"
        path.write_text(trace if isinstance(trace, str) else trace.to_html(), encoding="utf-8")
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme=theme, has_touch=width < 500
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: complaints.append(f"console {message.type}: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri() + hash)
        page.wait_for_selector(wait)
        if view:
            page.get_by_role("tab", name=view).click()
            page.wait_for_selector(f"[role=tabpanel][aria-labelledby=tab-{view}]")
        return page

    yield open_trace
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith("file://")] == []
    assert len(requests) == len(contexts)


@pytest.fixture
def shoot() -> Callable[[Any, str], None]:
    """Return a function that stores a screenshot of the page in the build folder."""

    def take(page: Any, name: str) -> None:
        SHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SHOTS / f"{name}.png")

    return take
