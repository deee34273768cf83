"""Each refusal has a code, a place and a fix; each difference is reported."""

import pytest
from loom import explain_tailcalls
from loom._codes import CODES, DEVIATIONS

REFUSED = {
    "LT005": "@tailrec\n@tailrec\ndef f(n): return f(n - 1)",
    "LT006": "import functools\ndef g(): pass\n@tailrec\n@functools.wraps(g)\ndef f(n): return f(n - 1)",
    "LT007": "def deco(fn): return fn\n@deco\n@tailrec\ndef f(n): return f(n - 1)",
    "LT008": "@tailstream\ndef f(n): return f(n - 1)",
    "LT010": "@tailrec\ndef f(n): return n",
    "LT011": "@tailrec\ndef f(n): return 1 + f(n - 1)",
    "LT012": "@tailrec\ndef f(n):\n    try: pass\n    finally: return f(n - 1)",
    "LT013": '@tailrec(blocks="reject")\ndef f(n):\n    with n: return f(n - 1)',
    "LT014": "@tailrec\ndef f(n): return f(n - 1, 2)",
    "LT015": "@tailrec\ndef f(n): return f(**locals())",
    "LT016": "@tailrec\nasync def f(n): return f(n - 1)",
    "LT017": "@tailrec\ndef f(f): return f(f)",
    "LT018": "@tailstream\nasync def f(n):\n    async for x in f(n - 1): yield x + 1",
    "LT019": "@tailstream\nasync def f(n):\n    global x\n    async for x in f(n - 1): yield x",
    "LT020": (
        '@tailstream(blocks="step")\nasync def f(n):\n    try:\n'
        "        async for x in f(n - 1): yield x\n        return\n    finally: return"
    ),
}


@pytest.mark.parametrize("code", REFUSED)
def test_a_refusal_names_its_code_place_and_fix(programs, code):
    error = programs.refusal(REFUSED[code])
    assert error.code == code
    assert error.line is not None
    assert error.fix
    assert CODES[code].title in str(error)


@pytest.mark.parametrize(
    ("source", "line", "column"),
    [
        ("@tailrec\ndef f(n):\n    x = f(n - 1)\n    return x", 3, 9),
        ("@tailrec\ndef f(n):\n    if n: return f(n - 1)\n    assert f(0)", 4, 12),
        ("@tailrec\ndef f(n):\n    return f(f(n - 1))", 3, 14),
        ("@tailrec\ndef f(n):\n    return [f(k) for k in n]", 3, 13),
        ("class K:\n    @tailrec\n    def f(self, n):\n        return self.f(n) + 1", 4, 16),
        ("class K:\n    @tailrec\n    def f(self, n):\n        return -type(self).f(self, n)", 4, 17),
        ("@tailrec\nasync def f(n):\n    return await wait_for(f(n - 1), 3)", 3, 27),
        ("@tailrec\ndef f(n):\n    é = 'ü'; return 1, f(n - 1)", 3, 24),
    ],
)
def test_a_call_outside_tail_position_is_found_in_every_position(programs, source, line, column):
    error = programs.refusal(source)
    assert (error.code, error.line, error.column) == ("LT011", line, column)


def test_the_caret_marks_the_call(programs):
    error = programs.refusal("@tailrec\ndef f(n):\n    return 1 + f(n - 1)")
    assert "    return 1 + f(n - 1)\n               ^^^^^^^^\n" in str(error)


def test_a_bare_name_in_a_method_is_explained(programs):
    error = programs.refusal("class K:\n    @tailrec\n    def f(self, n): return f(n - 1)")
    assert error.code == "LT010"
    assert "self.f(...)" in error.fix


def test_allowed_recursion_stays_recursion(programs):
    programs.same(
        """
        @tailrec(allow_recursion=True)
        def f(n):
            if n <= 1: return n
            f(n - 2)
            return f(n - 1)
        def main(): return f(6)
        """
    )


def test_allow_none_returns_the_function_itself(programs):
    module = programs.load("def f(n): return n\ng = tailrec(f, allow_none=True)")
    assert module.g is module.f


@pytest.mark.parametrize(
    "body",
    [
        "return f(eval('n', {}, {'n': n}))",
        "vars(n); return f(n)",
        "dir(n); return f(n)",
        "g = lambda: eval('1'); return f(n)",
    ],
)
def test_reading_other_objects_is_not_introspection(programs, body):
    programs.load(f"@tailrec\ndef f(n): {body}")


@pytest.mark.parametrize("body", ["eval('n')", "exec('n')", "vars()", "dir()", "locals"])
def test_inspecting_the_own_frame_is_refused(programs, body):
    assert programs.refusal(f"@tailrec\ndef f(n):\n    {body}\n    return f(n)").code == "LT015"


DIFFERENT = {
    "block-scope": '@tailrec(blocks="step")\ndef f(n):\n    with n: return f(n - 1)',
    "exception-context": "@tailrec\ndef f(n):\n    try: pass\n    except OSError: return f(n - 1)",
    "iterator-released": "@tailrec\ndef f(n):\n    for x in n: return f(n - 1)",
    "stream-delegation": "@tailstream\nasync def f(n):\n    async for x in f(n - 1): yield x",
}


def test_every_deviation_in_the_table_has_a_program():
    assert set(DIFFERENT) == set(DEVIATIONS)


@pytest.mark.parametrize("key", DIFFERENT)
def test_a_difference_is_reported_with_its_place(programs, key):
    module = programs.load(DIFFERENT[key])
    (found,) = explain_tailcalls(module.f, as_json=True)["deviations"]
    assert found["id"] == key
    assert found["line"] > 1


def test_exact_blocks_report_no_difference(programs):
    module = programs.load('@tailrec(blocks="exact")\ndef f(n):\n    with n: return f(n - 1)')
    assert explain_tailcalls(module.f, as_json=True)["deviations"] == []


def test_a_block_without_the_option_warns_at_its_line(programs):
    import loom

    with pytest.warns(loom.BlockScopeWarning, match='blocks="exact"') as caught:
        programs.load("@tailrec\ndef f(n):\n    with n:\n        return f(n - 1)")
    assert [(warning.lineno, warning.filename) for warning in caught] == [(4, programs.filenames[-1])]


def test_a_group_warns_only_about_likely_members(programs):
    module = programs.load(
        """
        @tailrec(group="g")
        def f(n):
            with n: return open(n)
        """
    )
    assert [found["id"] for found in explain_tailcalls(module.f, as_json=True)["deviations"]] == ["block-scope"]


@pytest.mark.parametrize(
    ("body", "starves"),
    [
        ("return await f(n - 1)", True),
        ("await g(); return await f(n - 1)", False),
        ("if n: await g()\n    return await f(n - 1)", True),
        ("if n: await g()\n    else: await g()\n    return await f(n - 1)", False),
        ("return await f(await g())", False),
        ("async with g(): pass\n    return await f(n - 1)", False),
        ("async for x in g(): pass\n    return await f(n - 1)", False),
        ("while n: await g()\n    return await f(n - 1)", True),
    ],
)
def test_a_path_that_awaits_nothing_may_starve(programs, body, starves):
    module = programs.load(f"@tailrec\nasync def f(n):\n    {body}")
    assert explain_tailcalls(module.f, as_json=True)["may_starve"] is starves


def test_yield_every_prevents_starvation(programs):
    module = programs.load("@tailrec(yield_every=10)\nasync def f(n): return await f(n - 1)")
    assert explain_tailcalls(module.f, as_json=True)["may_starve"] is False


def test_a_function_with_only_allowed_recursion_has_nothing_to_compile(programs):
    assert programs.refusal("@tailrec(allow_recursion=True)\ndef f(n): return 1 + f(n - 1)").code == "LT010"
    programs.load("@tailrec(allow_recursion=True, allow_none=True)\ndef f(n): return 1 + f(n - 1)")
