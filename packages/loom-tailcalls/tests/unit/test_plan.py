"""A definition is compiled once for each set of options."""

import gc
import weakref

from loom import _plan
from loom._link import member_of


def test_functions_of_one_definition_share_a_plan(programs):
    module = programs.load(
        """
        def make(k):
            @tailrec
            def f(n): return k if n == 0 else f(n - 1)
            return f
        """
    )
    one, two = module.make(1), module.make(2)
    assert member_of(one).plan is member_of(two).plan
    assert (one(3), two(3)) == (1, 2)
    assert one.__code__ is two.__code__


def test_other_options_get_another_plan(programs):
    module = programs.load("def f(n): return f(n - 1) if n else 0\na = tailrec(f)\nb = tailrec(f, blocks='step')")
    assert member_of(module.a).plan is not member_of(module.b).plan


def test_a_plan_goes_with_the_code(programs):
    def plans_of_the_program():
        return [code for code, _ in _plan._plans.values() if code() and code().co_filename == programs.filenames[-1]]

    module = programs.load("def make():\n    @tailrec\n    def f(n): return f(n - 1) if n else 0\n    return f")
    dead = weakref.ref(module.make())
    assert len(plans_of_the_program()) == 1
    module.__dict__.clear()
    gc.collect()
    assert dead() is None
    assert not plans_of_the_program()


def test_the_undecorated_function_counts_when_its_name_was_kept(programs):
    module = programs.load("def f(n): return f(n - 1) if n else 'end'\ng = tailrec(f)")
    assert module.g(5000) == "end"


def test_a_call_from_another_file_is_not_taken_for_a_decorator(programs):
    """The line of the helper says nothing about the decorators of this file."""
    helper = programs.load("\n\n\ndef mine(fn):\n    return tailrec(fn)")
    module = programs.load("def deco(fn): return fn")
    module.mine = helper.mine
    source = "import sys\ndef deco(fn): return fn\n@deco\n@sys.mine\ndef f(n): return f(n - 1) if n else 'end'"
    import sys

    sys.mine = helper.mine
    try:
        assert programs.load(source).f(5000) == "end"
    finally:
        del sys.mine
