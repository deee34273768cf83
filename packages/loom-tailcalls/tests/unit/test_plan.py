"""A definition is compiled once; each function made from it is linked to its own cells."""

import gc
import pickle
import weakref

from loom import _plan
from loom._runtime import member_of


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


def test_a_call_leaves_nothing_behind(programs):
    module = programs.load(
        """
        class Big: pass
        @tailrec
        def f(n, x=None): return f(n - 1, Big()) if n else None
        """
    )
    module.f(10)
    gc.collect()
    assert not [thing for thing in gc.get_objects() if type(thing).__name__ == "Big"]


def test_attributes_are_carried_over(programs):
    module = programs.load(
        """
        def deco(fn):
            fn.tag = "t"
            return fn
        @tailrec
        @deco
        def f(n: int, /, k=3, *, z: str = "q") -> bool:
            "doc"
            return f(n - 1) if n else k
        """
    )
    f = module.f
    assert (f.__name__, f.__qualname__, f.__module__, f.__doc__, f.tag) == ("f", "f", "program", "doc", "t")
    assert (f.__defaults__, f.__kwdefaults__) == ((3,), {"z": "q"})
    assert f.__annotations__ == {"n": int, "z": str, "return": bool}
    assert not hasattr(f, "__wrapped__")


def test_a_compiled_function_is_pickled_by_name(programs, monkeypatch):
    import sys

    module = programs.load("@tailrec\ndef f(n): return f(n - 1) if n else 0")
    monkeypatch.setitem(sys.modules, "program", module)
    assert pickle.loads(pickle.dumps(module.f)) is module.f


def test_the_undecorated_function_counts_when_its_name_was_kept(programs):
    module = programs.load("def f(n): return f(n - 1) if n else 'end'\ng = tailrec(f)")
    assert module.g(5000) == "end"


def test_a_decorator_of_another_file_is_no_decorator_line(programs):
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
