"""The tables define what keeps tail position; the walk applies them to every kind of statement."""

import ast

import pytest
from loom._positions import EXPRESSIONS, STATEMENTS, Edge, find_positions, stream_variable, tail_operands


def positions(body, kind="function"):
    text = "\n".join(f"    {line}" for line in body.splitlines())
    tree = ast.parse(f"{'async ' if kind in ('coroutine', 'async generator') else ''}def f(n):\n{text}")
    calls = lambda call: isinstance(call.func, ast.Name) and call.func.id == "f"
    return find_positions(tree.body[0], kind, calls, calls)


def test_every_statement_list_of_python_has_a_row():
    lists = set()
    for cls in vars(ast).values():
        if isinstance(cls, type) and issubclass(cls, ast.stmt | ast.ExceptHandler | ast.match_case) and cls._fields:
            lists |= {
                (cls, field) for field in cls._fields if field in ("body", "orelse", "finalbody", "handlers", "cases")
            }
    other_frames = {(cls, "body") for cls in (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)}
    no_return_inside = {(ast.TryStar, "handlers")}
    assert lists - set(STATEMENTS) == other_frames | no_return_inside
    assert set(STATEMENTS) <= lists


@pytest.mark.parametrize(
    ("body", "edges"),
    [
        ("return f(1)", []),
        ("if n: return f(1)", []),
        ("match n:\n    case 1: return f(1)", []),
        ("while n: return f(1)", []),
        ("for x in n: pass\nelse: return f(1)", []),
        ("try: pass\nexcept E: pass\nelse: return f(1)", []),
        ("try: pass\nexcept E: return f(1)", [Edge.HANDLER]),
        ("try: return f(1)\nexcept E: pass", [Edge.BLOCK]),
        ("try: pass\nexcept E: return f(1)\nfinally: pass", [Edge.BLOCK, Edge.HANDLER]),
        ("try: pass\nexcept E: pass\nelse: return f(1)\nfinally: pass", [Edge.BLOCK]),
        ("try: pass\nfinally: return f(1)", [Edge.CLEANUP]),
        ("try: return f(1)\nexcept* E: pass", [Edge.BLOCK]),
        ("with a:\n    with b: return f(1)", [Edge.BLOCK, Edge.BLOCK]),
    ],
)
def test_blocks_around_a_tail_call_are_collected(body, edges):
    (site,) = positions(body).sites
    assert [block.edge for block in site.blocks] == edges


@pytest.mark.parametrize(
    ("loop", "dropped"),
    [
        ("for x in range(3)", 0),
        ("for x in (1, 2)", 0),
        ("for x in n", 1),
        ("while n", 0),
        ("for x in n:\n  for y in x", 2),
    ],
)
def test_iterators_that_are_dropped_are_collected(loop, dropped):
    indent = "    " if "\n" in loop else "  "
    (site,) = positions(f"{loop}:\n{indent}return f(1)").sites
    assert len(site.iterators) == dropped


@pytest.mark.parametrize(
    "body",
    ["x = f(1)\nreturn x", "f(1)", "return (x := f(1))", "return f(1) + 1", "return f(1) and n", "return [f(1)]"],
)
def test_other_calls_are_stray(body):
    found = positions(body)
    assert not found.sites
    assert len(found.stray) == 1


@pytest.mark.parametrize("body", ["def g(): return f(1)", "g = lambda: f(1)", "class C:\n    def g(self): return f(1)"])
def test_calls_in_other_frames_are_ignored(body):
    found = positions(body)
    assert not found.sites
    assert not found.stray


@pytest.mark.parametrize(
    ("body", "forms"),
    [
        ("yield 1\nyield from f(1)", ["delegate"]),
        ("yield from f(1)\nreturn", ["delegate"]),
        ("if n:\n    yield from f(1)\nelse:\n    yield 2", ["delegate"]),
        ("yield from f(1)\nprint()", []),
        ("yield from f(1)\nreturn 5", []),
        ("while n:\n    yield from f(1)", []),
        ("while n:\n    yield from f(1)\n    return", ["delegate"]),
        ("return (yield from f(1))", ["return"]),
        ("for x in f(1): yield x", ["stream"]),
        ("try:\n    yield from f(1)\nexcept E: pass", ["delegate"]),
        ("try:\n    yield from f(1)\nexcept E: pass\nelse: pass", []),
        ("try: pass\nexcept* E: yield from f(1)", []),
    ],
)
def test_a_generator_ends_by_delegating(body, forms):
    assert [site.form for site in positions(body, "generator").sites] == forms


@pytest.mark.parametrize(
    ("loop", "variable"),
    [
        ("for x in f(): yield x", "x"),
        ("for x in f(): yield y", None),
        ("for x in f():\n  yield x\n  print(x)", None),
        ("for x in f(): yield x\nelse: pass", None),
        ("for x.y in f(): yield x", None),
    ],
)
def test_only_a_loop_that_forwards_values_is_a_stream(loop, variable):
    tree = ast.parse("def g():\n" + "\n".join(f"    {line}" for line in loop.splitlines()))
    assert stream_variable(tree.body[0].body[0]) == variable


def test_the_return_after_a_delegation_is_recorded():
    (site,) = positions("if n:\n    yield from f(1)\nreturn", "generator").sites
    assert site.leaves_by is None or site.leaves_by.lineno == 4
    (site,) = positions("yield from f(1)\nreturn", "generator").sites
    assert site.leaves_by.lineno == 3


def test_operands_in_tail_position_are_the_last_ones():
    value = ast.parse("a if b else (c and d or e)", mode="eval").body
    assert [ast.unparse(part) for part in tail_operands(value)] == ["a", "e"]
    assert set(EXPRESSIONS) == {ast.IfExp, ast.BoolOp}
