import asyncio
import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from flow_xray import TraceResult
from loom_agents import WorkspaceError
from rule_based_verifier import SemanticTrace, Settings, semantic_trace
from rule_based_verifier._errors import CallError


def trace(settings: Settings, target: str, arguments: object = None, **more: object) -> SemanticTrace:
    return asyncio.run(semantic_trace(settings, target, arguments, **more))


def calls(result: SemanticTrace) -> list[tuple[str, object, object]]:
    spans = TraceResult.from_json(json.dumps(result.trace)).spans
    return [(span.name, span.input, span.output) for span in spans]


def test_a_function_gives_its_value_and_the_calls_below_it(shop: Settings) -> None:
    result = trace(shop, "shop:price", {"item": "pen", "rate": 3})
    assert (result.verdict, result.value, result.calls) == ("pass", 9, 2)
    assert calls(result) == [("price", {"item": "pen", "rate": 3}, 9), ("base", {"item": "pen"}, 3)]
    outer, inner = TraceResult.from_json(json.dumps(result.trace)).spans
    assert inner.parent_id == outer.id and inner.code == "shop.py:5"
    assert '  base(item="pen") -> 3  [shop.py:5]' in result.as_text()


def test_an_exception_is_a_failure_with_the_call_that_raised_it(shop: Settings) -> None:
    result = trace(shop, "shop.py:price", ["none"])
    assert result.verdict == "fail" and "KeyError: 'none'" in result.reason
    assert {span["name"]: span["status"] for span in result.trace["spans"]} == {"price": "error", "base": "error"}


@pytest.mark.parametrize(
    ("target", "arguments", "value"),
    [("shop:counted", [3], [0, 1, 2]), ("shop:later", ["pen"], 3), ("shop:Till.open", None, 3)],
    ids=["generator", "coroutine", "static method"],
)
@pytest.mark.interpreter  # a frame is left at other instructions
def test_each_kind_of_function_runs(shop: Settings, target: str, arguments: object, value: object) -> None:
    result = trace(shop, target, arguments)
    assert (result.verdict, result.value) == ("pass", value)
    assert all(span["status"] == "ok" for span in result.trace["spans"])
    assert len({span["name"] for span in result.trace["spans"]}) == result.calls


def test_one_test_is_traced_by_its_id(shop: Settings) -> None:
    result = trace(shop, "test_shop.py::test_price")
    assert result.verdict == "pass"
    assert [name for name, *_ in calls(result)] == ["test_price", "price", "base"]


def test_an_id_of_several_tests_is_refused_with_the_ids(shop: Settings) -> None:
    with pytest.raises(CallError, match=r"test_counted\[1\]"):
        trace(shop, "test_shop.py::test_counted")


def test_a_function_that_hangs_shows_where(shop: Settings) -> None:
    result = trace(replace(shop, timeout_s=1.5), "shop:hang")
    assert result.verdict == "cannot_tell" and "stopped after 1.5 s" in result.reason
    assert {span["name"]: span["status"] for span in result.trace["spans"]} == {"hang": "interrupted", "base": "ok"}


def test_more_calls_than_asked_for_are_counted_and_left_out(shop: Settings) -> None:
    result = trace(shop, "shop:price", ["pen"], max_calls=1)
    assert (result.calls, result.calls_omitted) == (1, 1)
    assert "[1 more calls were not recorded]" in result.as_text()


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("os:system", "no module 'os'"),
        ("shop:missing", "no Python function"),
        ("test_shop:pytest.exit", "no Python function"),
        ("../shop.py:price", "'..' is not allowed"),
        ("/etc/x.py:f", "outside the workspace"),
        ("shop", "give `package.module:function`"),
        ("shop:f; import os", "give `package.module:function`"),
        ("missing.py::test", "no file"),
        ("missing.py:f", "no file"),
        ("missing/module:f", "not the name of a module"),
    ],
)
def test_a_target_that_the_root_does_not_define_is_not_run(shop: Settings, target: str, text: str) -> None:
    try:
        result = trace(shop, target)
    except (CallError, WorkspaceError) as error:
        assert text in str(error)
    else:
        assert result.verdict == "cannot_tell" and text in result.reason


def test_arguments_that_do_not_fit_are_explained(shop: Settings) -> None:
    result = trace(shop, "shop:price", {"thing": 1})
    assert result.verdict == "cannot_tell" and "signature is (item, *, rate=2)" in result.reason


def test_the_page_is_written_once_and_only_where_it_may_be(shop: Settings) -> None:
    page = shop.scratch / "trace.html"
    result = trace(shop, "shop:base", ["x"], html_path=str(page))
    assert result.html_path == str(page) and page.read_text().startswith("<!doctype html>")
    for path, text in [
        (str(page), "it exists"),
        ("/etc/trace.html", "neither in the root"),
        ("shop.py", "must end with .html"),
        (".github/x.html", "begins with a dot"),
        ("missing/x.html", "folder does not exist"),
    ]:
        with pytest.raises(CallError, match=text):
            trace(shop, "shop:base", ["x"], html_path=path)


def test_secrets_and_control_characters_do_not_leave_in_values_or_output(make: Callable[..., Settings]) -> None:
    token = "ghp_" + "a1B2c3D4e5" * 3 + "f6G7h8"
    settings = make({"app.py": f"def f(password):\n    print('\\x1b[2J{token}')\n    return '{token}'\n"})
    result = trace(settings, "app:f", {"password": "correct horse battery"})
    everything = json.dumps(result.trace) + result.output_tail + result.as_text() + str(result.value)
    assert token not in everything and "correct horse" not in everything and "\x1b" not in everything
    assert "\\x1b[2J" in result.output_tail


def test_a_root_that_is_not_trusted_is_not_imported(make: Callable[..., Settings]) -> None:
    settings = make({"app.py": "open('ran', 'w')\ndef f():\n    pass\n"}, trust=False)
    result = trace(settings, "app:f")
    assert result.verdict == "cannot_tell" and "--trust" in result.next_step
    assert not (settings.root / "ran").exists()


def test_a_function_that_ends_the_process_leaves_its_calls(make: Callable[..., Settings]) -> None:
    settings = make({"app.py": "import os\ndef f():\n    g()\n    os._exit(0)\ndef g():\n    pass\n"})
    result = trace(settings, "app:f")
    assert result.verdict == "cannot_tell" and "before the target did" in result.reason
    assert [span["name"] for span in result.trace["spans"]] == ["f", "g"]


def test_what_does_not_fit_is_refused_before_anything_runs(shop: Settings) -> None:
    for arguments, more, text in [
        (None, {"max_calls": 0}, "give 1 to 2000"),
        (["x" * 2_000_000], {}, "at most 1000000"),
    ]:
        with pytest.raises(CallError, match=text):
            trace(shop, "shop:base", arguments, **more)
    with pytest.raises(CallError, match="cannot pass arguments to a test"):
        trace(shop, "test_shop.py::test_price", [1])


def test_a_skipped_and_a_failing_test_are_told_apart(make: Callable[..., Settings]) -> None:
    source = "import pytest\n@pytest.mark.skip\ndef test_a():\n    pass\ndef test_b():\n    assert 1 == 2\n"
    settings = make({"test_x.py": source})
    assert trace(settings, "test_x.py::test_a").verdict == "cannot_tell"
    failing = trace(settings, "test_x.py::test_b")
    assert failing.verdict == "fail" and "assert 1 == 2" in failing.reason
    assert "output (end):" in failing.as_text()


def test_a_trace_is_bounded_in_bytes_and_its_text_in_lines(make: Callable[..., Settings]) -> None:
    source = "def f(n):\n    for i in range(n):\n        g([f'{i} {j} ' + 'words ' * 60 for j in range(30)])\ndef g(x):\n    return x\n"
    result = trace(make({"pkg/__init__.py": "", "pkg/app.py": source}), "pkg/app.py:f", [300], max_calls=300)
    assert 0 < result.calls < 300 and result.calls + result.calls_omitted == 301
    assert len(json.dumps(result.trace)) < 600_000
    assert len(result.as_text().splitlines()) < 80


def test_a_module_that_cannot_be_imported_is_said(make: Callable[..., Settings]) -> None:
    result = trace(make({"src/app.py": "import nothing_of_this_name\n"}), "app:f")
    assert result.verdict == "cannot_tell" and "nothing_of_this_name" in result.reason
