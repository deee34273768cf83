"""Built nodes have the right places."""

import ast

from loom._nodes import NOWHERE, Build, call_with


def test_a_node_has_the_place_of_its_model():
    model = ast.parse("\n  (a + b)".replace("  ", "")).body[0]
    node = Build(model).load(".x")
    assert (node.lineno, node.end_col_offset) == (model.lineno, model.end_col_offset)


def test_a_node_without_a_place_has_no_line():
    source = ast.parse("x = 1")
    source.body.insert(0, NOWHERE.set(".y", NOWHERE.constant(2)))
    code = compile(source, "<test>", "exec")
    assert {line for _, _, line in code.co_lines()} <= {0, 1, None}


def test_a_call_is_copied_with_another_callee():
    call = ast.parse("f(1, *a, k=2)", mode="eval").body
    assert ast.unparse(call_with(call, NOWHERE.load("g"), NOWHERE.load("me"))) == "g(me, 1, *a, k=2)"
    assert ast.unparse(call) == "f(1, *a, k=2)"


def test_one_test_needs_no_operator():
    a, b = NOWHERE.load("a"), NOWHERE.load("b")
    assert NOWHERE.all(a) is NOWHERE.any(a) is a
    assert ast.unparse(NOWHERE.all(a, b)) == "a and b"
    assert ast.unparse(NOWHERE.any(a, b)) == "a or b"
