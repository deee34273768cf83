"""The text is used only if it compiles to the loaded code; the line of the caller identifies our
decorator.
"""

import pytest
from loom import TailCallError
from loom._locate import analyse_function, locate
from loom._options import Options


def test_the_twin_does_what_the_loaded_code_does(programs):
    module = programs.load("class K:\n    def m(self): return super().__init__, [x for x in __class__.__mro__]")
    definition, twin = locate(module.K.m)
    assert (definition.node.lineno, twin.co_qualname) == (2, "K.m")
    assert list(twin.co_lines()) == list(module.K.m.__code__.co_lines())


def test_code_that_a_hook_changed_is_refused(programs):
    module = programs.load("def f(n): return f(n - 1)")
    module.f.__code__ = module.f.__code__.replace(co_consts=(None, 2))
    with pytest.raises(TailCallError, match="LT004"):
        locate(module.f)


def test_a_function_that_moved_is_refused(programs):
    module = programs.load("def f(n): return f(n - 1)")
    module.f.__code__ = module.f.__code__.replace(co_firstlineno=7)
    with pytest.raises(TailCallError, match="LT004"):
        locate(module.f)


def test_the_position_is_that_of_the_calling_line(programs):
    source = """
        import sys
        found = []
        def ours(fn):
            found.append((fn, sys._getframe(1).f_lineno))
            return fn
        @staticmethod
        @ours
        def f(n): return f(n - 1)
        """
    module = programs.load(source)
    ((function, line),) = module.found
    definition, _ = locate(function)
    assert definition.decorator_at(line) == 1
    assert analyse_function(function, Options(), None)[1] is None
