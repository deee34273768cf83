"""Each view of the page in a browser: what it shows, its keys, and the shared selection."""

import json
import os
import re

import pytest
from flow_xray import Span, TraceResult
from flow_xray._write.page.document import build_page

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.timeout(120)]

VIEWS = ("Overview", "Tree", "Timeline", "Flame", "Transcript", "Graph", "Diff", "Raw")
SIZES = {"wide": (1400, 900), "narrow": (360, 800)}


def settle(page):
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))")


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)
        settle(page)


def go(page, view):
    page.get_by_role("tab", name=view).click()
    page.wait_for_selector(f"[role=tabpanel][aria-labelledby=tab-{view}]")
    settle(page)


def line(page):
    """The text of the chart for the bar under the pointer, or for the selected one."""
    settle(page)
    return page.locator(".chart-line").inner_text()


def chart(page):
    return page.locator(".chart-scroll").bounding_box()


def bars_at(page, part):
    """The names of the bars at a part of the width, from the top."""
    box = chart(page)
    seen = []
    for y in range(39, min(int(box["height"]), 39 + 25 * 22), 22):
        page.mouse.move(box["x"] + part * box["width"], box["y"] + y)
        seen.append(line(page).split(" · ")[0])
    page.mouse.move(0, 0)
    return seen


def inspected(page):
    settle(page)
    page.wait_for_selector(".inspector[aria-busy=false]")
    return page.locator(".inspector h2 .title").inner_text()


def test_the_timeline_shows_calls_that_overlapped(open_page, scenes):
    page = open_page(scenes.parallel(), view="Timeline")
    assert page.get_by_role("group", name="Timeline, 4 lanes, 29 calls").is_visible()
    at_3_s = [name for name in bars_at(page, 3 / 9.4) if name != "review"]  # the selected one, where there is no bar
    assert at_3_s == [name for n in range(1, 6) for name in (f"reviewer {n}", "judge")]
    assert bars_at(page, 8.2 / 9.4).count("lint") == 3


def test_the_timeline_is_zoomed_and_moved_with_keys_wheel_and_pointer(open_page, scenes):
    page = open_page(scenes.failed(), view="Timeline")
    box = chart(page)

    def click_at(seconds, row):
        page.mouse.click(box["x"] + box["width"] * seconds / 74.2, box["y"] + 28 + 22 * row + 11)

    click_at(60, 3)
    assert "judge · llm · 9.2 s · at + 57 s" in line(page)
    assert inspected(page) == "judge"
    press(page, "z")
    page.mouse.move(box["x"] + 20 + box["width"] / 2, box["y"] + 28 + 22 * 3 + 11)
    assert line(page).startswith("judge")  # it fills the width now
    page.mouse.move(0, 0)
    press(page, "0")
    press(page, "k")
    assert line(page).startswith("verifier")
    press(page, "h", "h")
    assert line(page).startswith("plan · llm · 7.1 s")
    press(page, "k")
    assert line(page).startswith("repair")
    page.mouse.move(box["x"] + 5, box["y"] + 60)
    page.mouse.wheel(0, -1200)
    settle(page)
    page.mouse.move(box["x"] + box["width"] - 20, box["y"] + 28 + 22 * 2 + 11)
    assert line(page).startswith("plan")  # the beginning fills the width
    page.mouse.down()
    page.mouse.move(box["x"] - 1400, box["y"] + 80, steps=4)
    page.mouse.up()
    page.mouse.move(box["x"] + 20, box["y"] + 28 + 22 + 11)
    assert line(page).startswith("repair")
    press(page, "Escape")
    click_at(0.2, 1)
    assert line(page).startswith("repair")


def test_two_fingers_zoom_the_timeline(open_page, scenes):
    page = open_page(scenes.failed(), width=360, height=800, view="Timeline")
    box = chart(page)
    y = box["y"] + 28 + 30 * 2 + 15  # rows are higher for fingers

    def finger(kind, number, x):
        page.locator(".chart-scroll").dispatch_event(
            kind, {"pointerId": number, "pointerType": "touch", "clientX": x, "clientY": y, "bubbles": True}
        )
        settle(page)

    finger("pointerdown", 1, 30)
    finger("pointerup", 1, 30)
    assert line(page).startswith("plan · llm · 8.9 s")
    page.get_by_label("Close the inspector").click()
    finger("pointerdown", 1, 20)
    finger("pointerdown", 2, 60)
    for x in range(80, 341, 20):
        finger("pointermove", 2, x)
    finger("pointerup", 2, 340)
    finger("pointerup", 1, 20)
    finger("pointerdown", 3, 200)
    finger("pointerup", 3, 200)
    assert line(page).startswith("plan · llm · 8.9 s")  # at 41 s before
    page.get_by_label("Close the inspector").click()
    finger("pointerdown", 4, 320)
    finger("pointerup", 4, 320)
    assert line(page).startswith("plan · llm · 7.1 s")  # the call under the second finger has not moved


def test_the_selection_is_the_same_in_every_view(open_page, scenes):
    page = open_page(scenes.failed())
    page.locator("[role=row]", has_text="judge").click()
    for view in ("Timeline", "Flame"):
        go(page, view)
        assert line(page).startswith("judge")
    go(page, "Transcript")
    page.wait_for_selector(".block-head.selected")
    assert "judge" in page.locator(".block-head.selected").inner_text()
    go(page, "Graph")
    assert page.locator(".box.on .title").text_content() == "judge"
    page.get_by_role("button", name=re.compile("^execute, ")).click()
    assert inspected(page) == "execute"
    go(page, "Raw")
    page.wait_for_selector(".pre[aria-busy=false]")
    assert '"name": "execute"' in page.locator(".pre").inner_text()
    go(page, "Tree")
    assert page.locator(".row.selected .name").text_content() == "execute"


def test_a_search_is_the_same_in_every_view(open_page, scenes):
    page = open_page(scenes.failed())
    page.get_by_label("Search").fill("kind:llm")
    page.wait_for_selector(".row.dim")
    assert page.get_by_role("status").filter(has_text="3 found").count() == 1
    go(page, "Graph")
    assert sorted(page.locator(".box:not(.dim) .title").all_text_contents()) == ["judge", "plan"]
    go(page, "Transcript")
    page.wait_for_selector(".block-head.dim")
    heads = page.locator(".block-head:not(.dim) .name").all_text_contents()
    assert set(heads) == {"plan", "judge"}
    go(page, "Overview")
    page.get_by_label("Search").fill("check_health")
    page.wait_for_selector("[role=tabpanel][aria-labelledby=tab-Tree]")


def test_flame_folds_calls_of_one_path_and_zooms_on_a_click(open_page, scenes):
    page = open_page(scenes.failed(), view="Flame")
    press(page, "0")
    box = chart(page)
    names = {}
    for x in range(5, int(box["width"]), 40):
        page.mouse.move(box["x"] + x, box["y"] + 28 + 22 + 11)
        names.setdefault(line(page).split(" · ")[0], x)
    assert list(names)[:3] == ["verifier", "plan", "execute"]  # the longest first
    page.mouse.move(box["x"] + names["plan"] + 3, box["y"] + 28 + 22 + 11)
    assert line(page) == "plan · llm · 2 calls · total 16 s · own 16 s · mean 8 s · 22 %"
    page.mouse.click(box["x"] + names["plan"] + 3, box["y"] + 28 + 22 + 11)
    settle(page)
    assert inspected(page) == "plan"
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 28 + 22 + 11)
    assert line(page).startswith("plan")
    page.get_by_role("button", name="show all").click()
    page.mouse.move(box["x"] + 30, box["y"] + 28 + 22 + 11)
    assert line(page).startswith("verifier")


def test_the_graph_folds_calls_and_counts_them(open_page, scenes):
    page = open_page(build_page(scenes.failed().frozen(), context=scenes.context()), view="Graph")
    boxes = page.locator(".box .title").all_text_contents()
    assert sorted(boxes) == sorted(
        ["repair", "plan", "read_runbook", "execute", "rollback", "verifier", "check_health", "judge"]
    )
    assert page.get_by_role("button", name="check_health, 3 calls · 630 ms · 3 errors").count() == 1
    assert "×3" in page.locator(".arrow text").all_text_contents()
    page.get_by_role("radio", name="as it ran").click()
    assert page.locator(".box").count() == 12
    press(page, "l")
    page.get_by_role("radio", name="with the source").click()
    settle(page)
    assert set(page.locator(".box.possible .title").all_text_contents()) == {"scale_down", "escalate", "page_human"}
    assert page.locator(".arrow.a-possible").count() == 3
    assert page.locator(".arrow.a-runtime").count() == 1
    assert "if plan.needs_human:" in page.locator(".branches").inner_text()


def test_a_graph_of_many_names_and_cycles_stays_small(open_page):
    spans = [Span(f"{1:016x}", None, "root", "agent", 0, 10**9)]
    for n in range(6_000):
        parent = spans[(n * 7919) % len(spans)]
        spans.append(Span(f"{n + 2:016x}", parent.id, f"name {n % 400}", "tool", n * 1000, 500))
    page = open_page(TraceResult(name="tangle", spans=spans, is_frozen=True), view="Graph")
    assert page.locator(".box").count() == 60
    assert page.locator(".arrow").count() == 90
    assert "342 of 401 names folded into one box" in page.locator(".graph .bar-line").inner_text()


def test_the_difference_shows_both_values(open_page, scenes):
    before, after = scenes.two_runs()
    page = open_page(before.diff(after).to_html())
    assert page.get_by_role("tab", selected=True).inner_text().startswith("Diff")
    assert "compared with inc-1" in page.locator("header").inner_text()
    words = page.locator(".diff-list").inner_text()
    for expected in ("6 changed", "2 added", "1 removed", "5 same", "calls 12 → 13", "errors 3 → 0"):
        assert expected in words.replace("\n", " ")
    rows = page.locator(".diff-rows [role=row]")
    signs = [row.locator(".sign").get_attribute("aria-label") for row in rows.all()]
    names = page.locator(".diff-rows .name").all_text_contents()
    assert list(zip(signs, names, strict=True)) == [
        ("changed", "repair"),
        ("removed", "read_runbook"),
        ("changed", "verifier"),
        *[("changed", "check_health")] * 3,
        ("changed", "judge"),
        ("added", "record_audit"),
        ("added", "hash"),
    ]
    rows.filter(has_text="judge").click()
    page.wait_for_selector(".inspector[aria-busy=false]")
    assert "No: three checks failed." in page.locator(".side.d-removed").last.inner_text()
    assert "Yes: p95 is 0.31 s." in page.locator(".side.d-added").last.inner_text()
    press(page, "c")
    assert page.locator(".inspector .title").inner_text() == "record_audit"
    press(page, "C", "C", "C", "C", "C", "C")
    assert page.locator(".inspector .title").inner_text() == "read_runbook"
    assert page.locator(".inspector .word").inner_text() == "removed"
    page.get_by_role("radio", name="all calls").click()
    settle(page)
    assert rows.count() == 14
    page.get_by_label("Search").fill("record_audit")
    page.wait_for_selector(".diff-rows [role=row] >> nth=1")
    settle(page)
    assert page.locator(".diff-rows .name").all_text_contents() == ["repair", "record_audit"]
    press(page, "Escape")
    for view in VIEWS:
        go(page, view)


def test_equal_runs_show_no_difference(open_page, scenes):
    page = open_page(scenes.chat().diff(scenes.chat()).to_html())
    assert "no difference" in page.locator(".diff-list").inner_text()
    assert page.locator(".diff-rows [role=row]").count() > 20
    page.get_by_role("radio", name="differences").click()
    assert "The two runs are the same." in page.locator(".diff-list").inner_text()


def test_the_overview_names_the_critical_path_models_and_repeated_calls(open_page, scenes):
    page = open_page(scenes.parallel(), view="Overview")
    panels = {panel.locator("h3").inner_text().split("\n")[0]: panel for panel in page.locator(".panel").all()}
    path = next(panel for title, panel in panels.items() if title.startswith("Critical path"))
    names = path.locator("tbody button").all_text_contents()
    assert names[0] == "review"
    assert "reviewer 5" in names  # the last of the parallel ones is waited for
    assert "reviewer 1" not in names
    repeated = next(panel for title, panel in panels.items() if title.startswith("Repeated calls"))
    assert "×5" in repeated.inner_text()
    assert "README.md" in repeated.inner_text()
    assert "anthropic:claude-sonnet" in page.locator(".overview").inner_text()
    page.get_by_role("button", name="anthropic:claude-sonnet").click()
    page.wait_for_selector(".row:not(.dim):not(.head)")
    assert page.get_by_label("Search").input_value() == 'model:"anthropic:claude-sonnet"'
    settle(page)
    assert set(page.locator(".row:not(.dim):not(.head) .name").all_text_contents()) == {"judge"}


def test_a_long_critical_path_is_folded_by_name(open_page, scenes):
    page = open_page(scenes.chat(), view="Overview")
    rows = page.locator(".panel", has_text="Critical path").locator("tbody tr")
    assert [row.inner_text().split("\t")[:3] for row in rows.all()][1] == ["model", "×53", "2 m 43 s"]


def test_the_overview_of_a_killed_run_lists_what_was_interrupted(open_page, scenes):
    page = open_page(scenes.killed(), view="Overview")
    panel = page.locator(".panel", has_text="What was interrupted")
    assert panel.locator("button").all_text_contents() == ["fetch"]
    panel.get_by_role("button", name="fetch").click()
    assert inspected(page) == "fetch"


def test_printing_prints_the_overview_on_white(open_page, scenes):
    page = open_page(scenes.failed(), theme="dark", view="Timeline")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.get_by_role("tab", selected=True).inner_text().startswith("Overview")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.querySelector('.panel')).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator(".tabs").is_visible()
    assert page.evaluate("document.querySelector('.overview').scrollHeight <= document.body.scrollHeight")
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    settle(page)
    assert page.get_by_role("tab", selected=True).inner_text().startswith("Timeline")


def test_raw_gives_the_span_and_the_trace_as_json(open_page, scenes):
    page = open_page(scenes.failed(), view="Raw")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.wait_for_selector(".pre[aria-busy=false]")
    shown = json.loads(page.locator(".pre").inner_text())
    assert (shown["name"], shown["meta"]["attempt"]) == ("check_health", 1)
    page.get_by_role("radio", name="trace").click()
    settle(page)
    page.get_by_role("button", name="Copy").click()
    page.wait_for_selector(".notice.on")
    copied = json.loads(page.evaluate("navigator.clipboard.readText()"))
    assert (copied["name"], copied["spans"], copied["totals"]["errors"]) == ("inc-1", 12, 3)
    assert copied["models"] == ["anthropic:claude-sonnet", "openai:gpt-mini"]


def test_a_name_of_five_thousand_letters_does_not_hide_the_rest(open_page, make_span):
    root = make_span(
        "n" * 5_000, kind="k" * 5_000, input={"a": "v" * 5_000}, status="error", error={"type": "E" * 5_000}
    )
    again = make_span("n" * 5_000, kind="k" * 5_000, input={"a": "v" * 5_000}, parent=root)
    page = open_page(TraceResult(name="t" * 5_000, spans=[root, again]), view="Overview")
    assert max(row.bounding_box()["height"] for row in page.locator(".overview tr, .overview li").all()) < 90
    assert page.locator(".overview").evaluate("e => e.scrollWidth <= e.clientWidth")
    for view in VIEWS:
        go(page, view)
        assert page.evaluate("document.documentElement.scrollWidth") <= 1400, view


def test_a_run_of_a_year_opens_in_every_view(open_page, make_span):
    year_ns = 365 * 86_400 * 10**9
    root = make_span("run", kind="agent", at_s=0, duration_ns=year_ns)
    calls = [
        make_span("poll", kind="tool", parent=root, at_s=n * 10**7, duration_ns=10**16, input={"q": 1})
        for n in (0, 1, 2)
    ]
    page = open_page(TraceResult(name="long", spans=[root, *calls]))
    assert "365 d" in page.locator("header").inner_text()
    for view in VIEWS:
        go(page, view)
    go(page, "Overview")
    assert "347 d 5 h" in page.locator(".panel", has_text="Repeated calls").inner_text()


def test_a_journal_without_an_end_is_not_done(open_page, make_span):
    trace = TraceResult(name="cut", spans=[make_span()], meta={"journal": {"sessions": 1, "is_complete": False}})
    page = open_page(trace, view="Overview")
    assert page.locator("header .pill").inner_text() == "interrupted"
    assert "not closed" in page.locator(".overview").inner_text()


def test_a_long_chat_is_in_order_and_only_visible_blocks_are_in_the_document(open_page, scenes):
    page = open_page(scenes.chat(), view="Transcript")
    page.wait_for_selector(".turn-head")
    seen = []
    for _ in range(80):
        for text in page.locator("[data-block]").evaluate_all(
            "all => all.map(e => e.dataset.block + '|' + e.innerText)"
        ):
            number, words = text.split("|", 1)
            if not seen or int(number) > seen[-1][0]:
                seen.append((int(number), words))
        assert page.evaluate("document.querySelectorAll('*').length") < 1_500
        if page.locator(".the-end").count():
            break
        page.locator(".transcript").evaluate("e => e.scrollBy(0, 500)")
        settle(page)
    assert [number for number, _ in seen] == list(range(len(seen)))
    said = "\n".join(words for _, words in seen)
    assert said.count("You help with a code base.") == 1
    assert said.count("Where is the parser?") == 8
    assert said.count("def parse_") == 2 * 13  # the assistant's call and the line of the tool
    assert "outcome\nwaiting" in page.locator(".inspector").inner_text()  # not "done": the run waits


def test_a_tool_result_without_a_name_is_not_shown_twice(open_page, make_span):
    asks = {"role": "assistant", "tool_calls": [{"id": "c1", "function": {"name": "find", "arguments": '{"q": "x"}'}}]}
    result = {"role": "tool", "tool_call_id": "c1", "content": "found it"}
    user = {"role": "user", "content": "Find x."}
    spans = [
        make_span("ask", kind="llm", input={"messages": [user]}, output=asks),
        make_span("find", kind="tool", input={"q": "x"}, output="found it"),
        make_span(
            "ask",
            kind="llm",
            input={"messages": [user, asks, result]},
            output={"role": "assistant", "content": "Here."},
        ),
    ]
    page = open_page(TraceResult(spans=spans), view="Transcript")
    page.wait_for_selector(".the-end")
    assert page.locator(".transcript").inner_text().count("found it") == 1


def test_the_transcript_shows_the_agent_of_each_message(open_page, scenes):
    page = open_page(scenes.failed(), view="Transcript", hash="#span=00000000a0000001")
    page.wait_for_selector(".turn-head")
    assert page.locator(".scope .name").all_text_contents() == ["repair", "verifier"]


def test_agents_of_one_name_are_distinguished_by_their_input(open_page, make_span):
    root = make_span("team", kind="agent", duration_ns=10**9)
    spans = [root]
    for task in ("part A", "part B"):
        agent = make_span("worker", kind="agent", parent=root, input={"task": task}, duration_ns=10**8)
        spans += [agent, make_span("ask", kind="llm", parent=agent, output=task)]
    page = open_page(TraceResult(spans=spans), view="Transcript")
    page.wait_for_selector(".the-end")
    assert page.locator(".scope .detail").all_text_contents() == ["part A", "part B"]


def test_the_transcript_jumps_to_a_call_far_away(open_page, scenes):
    large = scenes.large(20_000)
    wanted = large.spans[15_001].id
    page = open_page(large, hash=f"#span={wanted}&view=transcript")
    page.wait_for_selector(".block-head.selected")
    assert page.locator(".block-head.selected").is_visible()
    page.locator(".transcript").evaluate("e => e.scrollTop = 0")
    settle(page)
    assert "earlier calls" in page.locator(".earlier").inner_text()
    press(page, "End")
    page.wait_for_selector(".block-head.selected")


def test_assistive_technology_gets_the_same_content(open_page, scenes):
    """The accessibility tree of each view, as the browser gives it to assistive technology."""
    page = open_page(scenes.failed())
    tree = page.locator("body").aria_snapshot()
    for expected in (
        'tablist "Views"',
        'tab "Tree" [selected]',
        'tab "Overview"',
        'tabpanel "Tree"',
        'treegrid "Calls, 12 rows"',
        "[expanded] [level=1]",
        'complementary "Inspector"',
        'searchbox "Search"',
        'heading "inc-1" [level=1]',
        'button "Help"',
        'region "Traceback"',
    ):
        assert expected in tree, expected
    page.get_by_label("Search").fill("check")
    page.wait_for_selector("[role=status]:has-text('3 found')")
    press(page, "Escape")
    expectations = {
        "Overview": ('tabpanel "Overview"', 'heading "What failed', "table"),
        "Timeline": ('group "Timeline, 1 lane, 12 calls"', 'status: "check_health · tool · 210 ms · failed'),
        "Flame": ('group "Flame, 8 folded calls"', "status: check_health · tool · 3 calls"),
        "Transcript": ('region "Transcript, 9 model and tool calls"',),
        "Graph": ('radiogroup "What the graph shows"', 'button "check_health, 3 calls · 630 ms · 3 errors" [pressed]'),
        "Diff": ('heading "Nothing to compare with"',),
        "Raw": ('region "JSON"', 'radio "selected call" [checked]'),
    }
    for view, expected in expectations.items():
        go(page, view)
        tree = page.locator("body").aria_snapshot()
        for words in expected:
            assert words in tree, f"{view}: {words}\n{tree}"
    page.get_by_role("tab", name="Raw").focus()
    press(page, "ArrowRight")
    assert page.evaluate("document.activeElement.id") == "tab-Overview"
    press(page, "Tab")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"
    press(page, "?")
    assert 'dialog "Help"' in page.locator("body").aria_snapshot()
    press(page, "Escape")
    assert page.get_by_role("dialog").count() == 0


@pytest.mark.parametrize("seed", [3, 19, 26])
def test_unexpected_values_break_no_view(open_page, scenes, seed):
    page = open_page(scenes.odd(seed).diff(scenes.odd(seed + 1)).to_html() if seed % 2 else scenes.odd(seed))
    for view in VIEWS:
        go(page, view)
        for key in ("j", "l", "w", "z", "e"):
            page.keyboard.press(key)
        settle(page)


ALL_PICTURES = os.environ.get("FLOW_XRAY_PICTURES") == "all"
MORE = ["empty", "single", "large", "deep"] if ALL_PICTURES else []  # other tests go through their views


@pytest.mark.parametrize("name", ["failed", "chat", "parallel", "killed", "hostile", "diff", *MORE])
def test_every_view_shows_every_kind_of_trace(open_page, scenes, shoot, name):
    """Screenshots for the build folder; FLOW_XRAY_PICTURES=all takes all, narrow and dark, too."""
    if name == "diff":
        before, after = scenes.two_runs()
        content = before.diff(after).to_html()
    else:
        content = scenes.SCENES[name]()
    page = open_page(content)
    for size, (width, height) in SIZES.items():
        if size == "narrow" and not ALL_PICTURES and name not in ("chat", "hostile", "diff"):
            continue
        page.set_viewport_size({"width": width, "height": height})
        for theme in ("light", "dark") if ALL_PICTURES else ("light",):
            page.emulate_media(color_scheme=theme)
            for view in VIEWS:
                go(page, view)
                assert page.evaluate("document.documentElement.scrollWidth") <= width, view
                assert page.evaluate("document.querySelectorAll('*').length") < 3_000
                if ALL_PICTURES or size == "wide":
                    shoot(page, f"{name}-{view.lower()}-{size}-{theme}")
