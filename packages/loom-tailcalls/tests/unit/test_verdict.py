"""Properties of an analysis follow from its facts."""

from loom._locate import analyse_function
from loom._options import Options


def verdict(programs, source, **said):
    module = programs.load(source)
    function = next(value for value in vars(module).values() if getattr(value, "__name__", "") == "f")
    return analyse_function(function, Options(**said), None)[0]


def test_defaults_are_read_at_entry_unless_the_file_touches_them(programs):
    quiet = "def f(n, k=1): return f(n - 1)"
    assert not verdict(programs, quiet).defaults_are_live
    assert verdict(programs, f"{quiet}\nf.__defaults__ = (2,)").defaults_are_live
    assert not verdict(programs, "def f(n): return f(n - 1)\nf.__defaults__ = None").defaults_are_live


def test_the_step_form_reads_defaults_at_every_step(programs):
    assert verdict(programs, "def f(n, k=1):\n    with n: return f(n - 1)", blocks="step").defaults_are_live


def test_an_assigned_first_parameter_is_not_a_stable_receiver(programs):
    assert verdict(programs, "def f(n): return f(n - 1)").receiver_is_stable
    assert not verdict(programs, "def f(n):\n    n -= 1\n    return f(n)").receiver_is_stable
    assert not verdict(programs, "def f(*n): return f(*n)").receiver_is_stable


def test_block_ends_are_unrequested_only_without_the_option(programs):
    source = "def f(n):\n    with n: return f(n - 1)"
    assert [found.line for found in verdict(programs, source).unrequested_block_ends] == [2]
    assert verdict(programs, source, blocks="step").unrequested_block_ends == ()
    assert verdict(programs, source, group="g").unrequested_block_ends == ()


def test_binding_is_direct_only_if_every_route_is(programs):
    calls = verdict(programs, "def f(n):\n    if n: return f(n - 1)\n    return f(*n)").calls
    assert [call.binding for call in calls] == ["direct", "bind"]
