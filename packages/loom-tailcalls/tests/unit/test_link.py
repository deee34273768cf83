"""Each function made from a plan has its own cells, and is recognised as a member."""

import gc
import pickle

from loom._link import member_of
from loom._plan import MEMBER


def test_only_compiled_functions_have_a_member(programs):
    module = programs.load("@tailrec\ndef f(n): return f(n - 1) if n else 0\ndef g(): pass")
    assert member_of(module.f).public is module.f
    assert member_of(module.g) is None
    assert member_of(len) is None
    assert member_of(3) is None


def test_a_copy_of_a_function_is_not_a_member(programs):
    import types

    module = programs.load("@tailrec\ndef f(n): return f(n - 1) if n else 0")
    copied = types.FunctionType(module.f.__code__, module.f.__globals__, "f", None, module.f.__closure__)
    assert MEMBER in copied.__code__.co_freevars
    assert member_of(copied) is None
    assert copied(4) == 0


def test_a_function_of_another_group_is_called(programs):
    programs.same(
        """
        @tailrec(group="one")
        def a(n): return b(n - 1) if n else "a"
        @tailrec(group="two")
        def b(n): return a(n - 1) if n else "b"
        def main(): return a(6), a(7)
        """
    )


def test_members_of_another_kind_are_called(programs):
    programs.same(
        """
        @tailrec(group="g")
        async def a(n): return await b(n - 1) if n else "a"
        @tailrec(group="g")
        def b(n): return a(n)
        async def main(): return await a(3)
        """
    )


def test_callees_of_any_type_may_be_called_in_a_group(programs):
    programs.same(
        """
        class Callable:
            __hash__ = None
            def __call__(self, n): return ("called", n)
        thing = Callable()
        @tailrec(group="g")
        def a(n): return thing(n) if n == 1 else str.upper("x") if n == 2 else a(n - 1) if n else missing()
        def main(): return a(5), a(1)
        """
    )


def test_after_removed_defaults_every_call_is_made(programs):
    programs.same(
        """
        import sys
        @tailrec
        def f(n, a=1, *, b=2):
            return (n, a, b) if n == 0 else f(n - 1)
        def main():
            before = f(2)
            setattr(f, "__def" + "aults__", (7,))
            setattr(f, "__kwdef" + "aults__", {"b": 8})
            after = f(2)
            setattr(f, "__kwdef" + "aults__", None)
            try: return before, after, f(2, b=1)
            except TypeError as error: return before, after, str(error)
        """,
        lines=False,
    )


def test_a_call_keeps_no_objects(programs):
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
