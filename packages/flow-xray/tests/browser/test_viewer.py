"""The page in a real browser: its functions, and its safety with a hostile trace."""

import json
import math
import time

import pytest
from flow_xray import Span, TraceResult

VIEWS = ("Overview", "Tree", "Timeline", "Flame", "Transcript", "Graph", "Diff", "Raw")

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.timeout(120)]


@pytest.fixture
def agent_run(make_span):
    """A supervised run: model calls, tools, an error, a retry, a wait, something interrupted."""
    system = {"role": "system", "content": "You are a supervisor. Follow the runbook."}
    user = {"role": "user", "content": "p95 is above 1.9 s.\nFind out why."}
    asks = {
        "role": "assistant",
        "content": "First the runbook.",
        "tool_calls": [{"id": "c1", "name": "read_runbook", "arguments": {"path": "api.md"}}],
    }
    result = {"role": "tool", "tool_call_id": "c1", "name": "read_runbook", "content": "1. Roll back."}
    usage = {
        "model": "m-large",
        "input_tokens": 2140,
        "output_tokens": 212,
        "cache_read_tokens": 1200,
        "cost_usd": 0.0096,
    }
    root = make_span(
        "supervise",
        kind="agent",
        at_s=0,
        duration_ns=252 * 10**9,
        input={"incident": "API latency"},
        output={"status": "waiting"},
    )
    plan = make_span(
        "plan",
        parent=root,
        kind="llm",
        at_s=0.5,
        duration_ns=11_900_000_000,
        input={"messages": [system, user]},
        output=asks,
        meta=usage,
    )
    tool = make_span("read_runbook", parent=root, kind="tool", at_s=13, duration_ns=4_000_000, input={"path": "api.md"}, output="1. Roll back.",
                     meta={"run_id": "inc-1", "step_index": 3, "attempt": 2, "max_attempts": 3, "idempotency_key": "inc-1/3/read_runbook#0", "approved_by": "on-call"},
                     tags=[{"name": "retry", "at_ns": 1_795_233_613_001_000_000, "why": "in doubt"}])  # fmt: skip
    decide = make_span("decide", parent=root, kind="llm", at_s=14, duration_ns=9_100_000_000, input={"messages": [system, user, asks, result]},
                       output={"role": "assistant", "content": "Roll back, then verify."}, meta={"model": "m-large", "input_tokens": 1980, "output_tokens": 96})  # fmt: skip
    check = make_span("verifier", parent=root, kind="agent", at_s=30, duration_ns=100 * 10**9, status="error",
                      error={"type": "HealthError", "message": "p95 1.92 s > 0.5", "traceback": "", "origin": f"{0xA0000006:016x}"})  # fmt: skip
    make_span("check_health", parent=check, kind="tool", at_s=31, duration_ns=210_000_000, status="error", input={"url": "http://api/health"},
              error={"type": "HealthError", "message": "p95 1.92 s > 0.5", "traceback": 'Traceback:\n  File "ops/health.py", line 41\nHealthError'})  # fmt: skip
    spans = [root, plan, tool, decide, check]
    spans.append(Span(f"{0xA0000006:016x}", check.id, "check_health", "tool", check.started_at_ns + 10**9, 210_000_000, "error", {"url": "http://api/health"},
                      error={"type": "HealthError", "message": "p95 1.92 s > 0.5", "traceback": 'Traceback:\n  File "ops/health.py", line 41\nHealthError'}))  # fmt: skip
    spans.append(make_span("rollback", parent=root, kind="tool", at_s=140, duration_ns=None, status="interrupted"))
    spans.append(
        make_span(
            "await approval",
            parent=root,
            kind="wait",
            at_s=150,
            duration_ns=None,
            status="open",
            meta={"reason": "expires in 30 m"},
        )
    )
    return TraceResult(name="inc-1", spans=spans, value={"next": "approve"}, meta={"status": "waiting for approval"})


def row(page, name):
    return page.locator("[role=row]", has=page.locator(".name", has_text=name)).first


def names(page):
    return page.locator(".spacer .row .name").all_text_contents()


def elements(page):
    return page.evaluate("document.querySelectorAll('*').length")


def settle(page):
    """Wait until the page is drawn."""
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))")


def until(page, condition):
    """Wait for a condition in JavaScript; playwright's own wait needs eval, which is forbidden."""
    for _ in range(160):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"never became true: {condition}")


def press(page, key):
    page.keyboard.press(key)
    settle(page)


def inspector(page):
    """The text of the inspector, once the values of the span are loaded."""
    settle(page)
    page.wait_for_selector(".inspector[aria-busy=false]")
    return page.locator(".inspector").inner_text()


def selected(page):
    settle(page)
    return page.locator(".row.selected .name").text_content()


def test_the_header_shows_name_status_and_cost(open_page, agent_run, shoot):
    page = open_page(agent_run)
    shoot(page, "tree-light")
    header = page.locator("header").inner_text()
    for words in (
        "inc-1",
        "waiting for approval",
        "4 m 12 s",
        "8\nspans",
        "2\nmodel calls",
        "4,120 / 308",
        "$0.0096",
        "1 call unpriced",
        "1\nerror",
        "1\ninterrupted",
    ):
        assert words in header
    assert page.title() == "inc-1 · flow-xray"
    assert names(page) == [
        "supervise",
        "plan",
        "read_runbook",
        "decide",
        "verifier",
        "check_health",
        "rollback",
        "await approval",
    ]
    assert "2,140 → 212 · m-large" in row(page, "plan").inner_text()
    assert "11.9 s" in row(page, "plan").inner_text()
    assert "HealthError: p95 1.92 s > 0.5" in row(page, "check_health").inner_text()
    assert "interrupted" in row(page, "rollback").inner_text()
    assert "1 m 42 s, waiting" in row(page, "await approval").inner_text()


def test_bars_are_at_the_times_of_their_calls(open_page, agent_run):
    page = open_page(agent_run)
    lane = page.locator(".row.head .lane").bounding_box()
    bar = row(page, "decide").locator(".bar").bounding_box()
    assert math.isclose((bar["x"] - lane["x"]) / lane["width"], 14 / 252, abs_tol=0.005)
    assert math.isclose(bar["width"] / lane["width"], 9.1 / 252, abs_tol=0.005)
    assert row(page, "read_runbook").locator(".bar").bounding_box()["width"] >= 2


def test_the_inspector_shows_everything_about_a_span(open_page, agent_run):
    page = open_page(agent_run)
    row(page, "read_runbook").click()
    words = inspector(page)
    for expected in ("supervise ›", "read_runbook", "tool", "inc-1 · step 3 · attempt 2 of 3", "outcome\ndone", "04:00:13.000 UTC, + 13 s", "took\n4 ms",
                     "inc-1/3/read_runbook#0", "path: ", "api.md", "1. Roll back.", "retry + 1 ms", "why in doubt", "approved_by\non-call"):  # fmt: skip
        assert expected in words
    row(page, "plan").click()
    words = inspector(page)
    for expected in (
        "m-large",
        "2,140 in → 212 out (1,200 cached)",
        "$0.0096",
        "2 messages",
        "You are a supervisor",
        "→ read_runbook",
    ):
        assert expected in words


def test_an_error_leads_to_where_it_was_raised(open_page, agent_run):
    page = open_page(agent_run)
    row(page, "verifier").click()
    page.get_by_role("button", name="raised in check_health").click()
    assert selected(page) == "check_health"
    assert 'File "ops/health.py", line 41' in page.locator(".traceback").inner_text()
    row(page, "plan").click()
    page.get_by_title("Go to the next error").click()
    assert selected(page) == "check_health"


def test_the_tree_is_walked_with_the_keyboard(open_page, agent_run, shoot):
    page = open_page(agent_run)
    assert selected(page) == "supervise"
    press(page, "j")
    press(page, "ArrowDown")
    assert selected(page) == "read_runbook"
    press(page, "k")
    assert selected(page) == "plan"
    press(page, "End")
    assert selected(page) == "await approval"
    press(page, "Home")
    press(page, "h")
    assert names(page) == ["supervise"]
    assert "+7" in row(page, "supervise").inner_text()
    assert "1 error" in row(page, "supervise").inner_text()
    press(page, "l")
    assert len(names(page)) == 8
    press(page, "e")
    assert selected(page) == "check_health"
    press(page, "h")
    assert selected(page) == "verifier"
    press(page, "f")
    assert names(page) == ["supervise", "plan", "read_runbook", "decide", "verifier", "rollback", "await approval"]
    press(page, "f")
    assert len(names(page)) == 8
    press(page, "?")
    assert page.get_by_role("dialog").is_visible()
    shoot(page, "help")
    press(page, "Escape")
    assert page.get_by_role("dialog").count() == 0
    press(page, "5")
    assert page.get_by_role("tab", name="Transcript").get_attribute("aria-selected") == "true"
    press(page, "1")
    assert page.get_by_role("tab", name="Overview").get_attribute("aria-selected") == "true"


def test_zooming_changes_the_time_range_and_zero_restores_it(open_page, agent_run):
    page = open_page(agent_run)
    row(page, "decide").click()
    before = row(page, "decide").locator(".bar").bounding_box()["width"]
    for _ in range(4):
        press(page, "w")
    assert row(page, "decide").locator(".bar").bounding_box()["width"] > 4 * before
    press(page, "d")
    press(page, "0")
    assert math.isclose(row(page, "decide").locator(".bar").bounding_box()["width"], before, abs_tol=0.5)


def test_search_finds_names_kinds_sizes_and_values(open_page, agent_run, shoot):
    page = open_page(agent_run)
    press(page, "/")

    def find(text):
        page.get_by_label("Search").fill(text)
        until(page, "!document.querySelector('.found')?.textContent.includes('…')")
        page.wait_for_timeout(250)
        until(page, "!document.querySelector('.found')?.textContent.includes('…')")
        return page.locator(".row:not(.dim):not(.head) .name").all_text_contents()

    assert find("kind:llm") == ["plan", "decide"]
    assert find("status:error") == ["verifier", "check_health"]
    assert find("took>110s") == ["supervise"]
    assert find("tokens>2200") == ["plan"]
    assert find("runbook kind:tool") == ["read_runbook"]
    assert find("on-call") == ["read_runbook"]  # only in a value
    assert find("supervisor.") == ["plan", "decide"]  # only in a pooled message
    shoot(page, "search")
    assert find("nothing like this") == []
    assert "Nothing matches" in page.locator(".empty").inner_text()
    assert find("kind:llm") == ["plan", "decide"]
    press(page, "Enter")
    press(page, "Enter")
    assert selected(page) == "decide"
    press(page, "Escape")
    assert len(names(page)) == 8


def test_a_link_opens_its_span_and_the_address_follows_the_selection(open_page, agent_run):
    wanted = agent_run.spans[3].id
    page = open_page(agent_run, hash=f"#span={wanted}")
    assert selected(page) == "decide"
    press(page, "k")
    assert page.evaluate("location.hash") == f"#span={agent_run.spans[2].id}"
    press(page, "5")
    assert page.evaluate("location.hash") == f"#span={agent_run.spans[2].id}&view=transcript"
    press(page, "6")
    press(page, "/")
    page.keyboard.type("kind:llm")
    settle(page)
    assert page.evaluate("location.hash") == f"#span={agent_run.spans[2].id}&view=graph&q=kind%3Allm"
    page.evaluate(f"location.hash = '#span={wanted}'")
    until(page, "document.querySelector('.row.selected .name')?.textContent === 'decide'")


def test_a_link_to_an_unknown_span_opens_the_trace(open_page, agent_run):
    page = open_page(agent_run, hash="#span=ffffffffffffffff&view=nonsense")
    assert selected(page) == "supervise"


def test_copying_gives_the_span_as_json(open_page, agent_run):
    page = open_page(agent_run)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    row(page, "read_runbook").click()
    page.get_by_role("button", name="Copy JSON").click()
    page.wait_for_selector(".notice.on")
    copied = json.loads(page.evaluate("navigator.clipboard.readText()"))
    span = agent_run.spans[2]
    assert (copied["id"], copied["parent_id"], copied["started_at_ns"]) == (span.id, span.parent_id, span.started_at_ns)
    assert (copied["input"], copied["meta"]) == (span.input, span.meta)


def test_the_transcript_reads_like_the_conversation(open_page, agent_run, shoot):
    page = open_page(agent_run, view="Transcript")
    page.wait_for_selector(".turn-head")
    shoot(page, "transcript-light")
    words = page.locator(".transcript").inner_text()
    assert words.count("You are a supervisor") == 1
    assert words.count("First the runbook.") == 1
    assert words.count("1. Roll back.") == 1
    order = [
        words.index(each)
        for each in (
            "You are a supervisor",
            "p95 is above 1.9 s.",
            "First the runbook.",
            "→ read_runbook",
            "1. Roll back.",
            "Roll back, then verify.",
        )
    ]
    assert order == sorted(order)
    page.locator(".turn-head", has_text="decide").click()
    assert "decide" in page.locator(".inspector h2").inner_text()


def test_the_overview_shows_time_tokens_and_errors(open_page, agent_run, shoot):
    page = open_page(agent_run, view="Overview")
    page.wait_for_selector("text=Models")
    shoot(page, "overview-light")
    words = page.locator(".overview").inner_text()
    for expected in (
        "What failed",
        "check_health",
        "Time by kind",
        "agent",
        "Slowest by self time",
        "m-large",
        "4,120",
        "308",
        "next",
    ):
        assert expected in words
    page.get_by_role("button", name="check_health").first.click()
    assert selected(page) == "check_health"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_theme_follows_the_system_until_a_person_chooses(open_page, agent_run, theme, shoot):
    page = open_page(agent_run, theme=theme)
    background = "getComputedStyle(document.body).backgroundColor"
    first = page.evaluate(background)
    assert (first == "rgb(19, 20, 23)") == (theme == "dark")
    if theme == "dark":
        shoot(page, "tree-dark")
    page.get_by_label("Theme: system").click()
    settle(page)
    assert page.evaluate(background) == "rgb(251, 251, 250)"
    page.get_by_label("Theme: light").click()
    settle(page)
    assert page.evaluate(background) == "rgb(19, 20, 23)"
    page.get_by_label("Theme: dark").click()
    settle(page)
    assert page.evaluate(background) == first


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_telephone_is_wide_enough(open_page, agent_run, theme, shoot):
    page = open_page(agent_run, width=360, height=800, theme=theme)
    shoot(page, f"narrow-{theme}")
    for view in (*VIEWS, "Tree"):
        page.get_by_role("tab", name=view).click()
        settle(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.locator(".inspector").count() == 0
    row(page, "check_health").click()
    assert page.locator(".inspector").bounding_box()["width"] == 360
    assert "HealthError" in inspector(page)
    shoot(page, f"narrow-inspector-{theme}")
    page.get_by_label("Close the inspector").click()
    assert page.locator(".inspector").count() == 0


def test_an_assistive_technology_finds_a_tree(open_page, agent_run):
    page = open_page(agent_run)
    grid = page.get_by_role("treegrid")
    assert grid.get_attribute("aria-rowcount") == "8"
    press(page, "j")
    active = page.locator("#" + grid.get_attribute("aria-activedescendant"))
    assert active.get_attribute("aria-selected") == "true"
    assert active.get_attribute("aria-level") == "2"
    assert page.locator("[role=row][aria-level='1']").get_attribute("aria-expanded") == "true"
    assert page.get_by_role("tab", selected=True).inner_text().startswith("Tree")
    assert (
        page.locator("button:not([aria-label])").evaluate_all("all => all.filter(b => !b.textContent.trim()).length")
        == 0
    )


def test_an_empty_trace_and_a_single_span_open(open_page, make_span, shoot):
    page = open_page(TraceResult(name="empty"))
    assert "This trace has no calls." in page.locator(".empty").inner_text()
    for view in range(1, 9):
        press(page, str(view))
        for key in ("j", "k", "h", "l", "e", "f", "n", "w", "s", "a", "0", "z", "g", "G", "Enter"):
            page.keyboard.press(key)
        settle(page)
    page = open_page(TraceResult(spans=[make_span(duration_ns=0)]))
    assert names(page) == ["call"]


def test_a_hostile_trace_is_only_text(open_page, scenes, shoot):
    page = open_page(scenes.hostile())
    shoot(page, "hostile")
    for view in VIEWS:
        page.get_by_role("tab", name=view).click()
        page.wait_for_timeout(60)
    page.get_by_role("tab", name="Tree").click()
    for _ in range(len(scenes.ATTACKS) + 1):
        press(page, "j")
        page.wait_for_timeout(15)
    press(page, "Home")
    words = inspector(page)
    for expected in (
        "Infinity",
        "1208925819614629174706176",
        "whose repr raised SystemError",
        "<cycle: this list contains itself>",
        "$ref",
        "__proto__",
        "␛[31mred",
    ):
        assert expected in words
    assert page.locator("img, script[src], iframe, a[href], svg[onload]").count() == 0
    assert page.evaluate("({}).polluted") is None
    press(page, "/")
    for attack in scenes.ATTACKS:
        page.get_by_label("Search").fill(attack)
        page.wait_for_timeout(20)


def test_ten_thousand_levels_open_fold_and_scroll(open_page, scenes):
    page = open_page(scenes.deep())
    press(page, "G")
    assert selected(page) == "level 9999"
    assert page.locator(".row.selected .name").bounding_box()["width"] > 40
    press(page, "g")
    press(page, "h")
    assert names(page) == ["level 0"]
    press(page, "l")
    press(page, "j")
    for view in VIEWS:
        page.get_by_role("tab", name=view).click()
        settle(page)
        assert elements(page) < 3_000, view
    page.get_by_role("tab", name="Timeline").click()
    for _ in range(3):
        press(page, "j")
    assert "level 4 ·" in page.locator(".chart-line").inner_text()


@pytest.mark.slow
def test_a_hundred_thousand_spans_open_in_a_second_and_stay_light_in_every_view(open_page, scenes):
    large = scenes.large()
    page = open_page(large)
    usable_ms = page.evaluate("performance.now()")
    assert usable_ms < 4_000  # the limit is 1 s on an idle machine (benchmarks); a loaded one may take longer
    press(page, "End")
    assert selected(page) == large.spans[-1].name
    page.locator(".scroller").evaluate("e => e.scrollTop = e.scrollHeight / 2")
    until(page, "[...document.querySelectorAll('.spacer .row')].some(r => +r.getAttribute('aria-rowindex') > 40000)")
    for view in VIEWS:
        started = time.perf_counter()
        page.get_by_role("tab", name=view).click()
        page.wait_for_selector(f"[role=tabpanel][aria-labelledby=tab-{view}]")
        settle(page)
        assert time.perf_counter() - started < 4, view  # about 0.1 s on an idle machine
        assert elements(page) < 3_000, view
    page.get_by_role("tab", name="Tree").click()
    started = time.perf_counter()
    page.get_by_label("Search").fill("src/7.py")
    until(page, "document.querySelector('.found')?.textContent === '2,000'")
    assert time.perf_counter() - started < 8
    for view in ("Timeline", "Flame", "Transcript", "Graph"):
        page.get_by_role("tab", name=view).click()
        settle(page)
        assert elements(page) < 3_000, view


def test_a_damaged_page_shows_an_error(open_page, tmp_path, make_span, chromium):
    text = TraceResult(spans=[make_span()]).to_html()
    broken = tmp_path / "broken.html"
    at = text.index('id="x-head">') + len('id="x-head">') + 40
    broken.write_text(text[:at] + "AAAA" + text[at + 4 :])
    page = chromium.new_page()
    page.goto(broken.as_uri())
    page.wait_for_selector("text=This trace cannot be shown")
    page.close()
