"""Compiled code fits the original function: cells, classes, names and flags."""


def test_private_names_in_a_function_of_a_method_are_mangled(programs):
    programs.same(
        """
        class Outer:
            def m(self):
                __secret = 5
                @tailrec
                def f(n):
                    if n == 0: return __secret, self.__priv, __class__.__name__
                    return f(n-1)
                return f(2)
            __priv = 7
        def main(): return Outer().m()
        """
    )


def test_a_class_in_a_function_sees_free_variables_and_itself(programs):
    programs.same(
        """
        def make(T):
            class K:
                @tailrec
                def f(self, n, acc=()):
                    if n == 0: return acc
                    return self.f(n-1, acc + (T, K.__name__, __class__ is K))
            return K
        def main(): return make(3)().f(2)
        """
    )


def test_generator_based_coroutines_stay_awaitable(programs):
    programs.same(
        """
        import types
        @tailrec
        @types.coroutine
        def f(n):
            yield
            if n == 0: return "gen"
            return (yield from f(n-1))
        async def use():
            return await f(2)
        def main():
            c = use(); k = 0
            try:
                while True: c.send(None); k += 1
            except StopIteration as e: return e.value, k
        """
    )


def test_flags_and_attributes_are_those_of_the_original(programs):
    programs.same(
        """
        import inspect
        @tailrec
        async def f(n):
            if n == 0: return "x"
            return await f(n-1)
        @tailrec
        def g(n):
            yield n
            if n: yield from g(n-1)
        def main():
            return (inspect.iscoroutinefunction(f), inspect.isgeneratorfunction(g), inspect.signature(f), f.__code__.co_flags,
                    g.__code__.co_flags, f.__kwdefaults__, f.__dict__, f.__annotations__, f.__code__.co_firstlineno)
        """
    )


def test_the_twin_of_a_function_equals_its_code(programs):
    from loom._locate import locate

    module = programs.load("def f(n, k={1, 2}):\n    return [x for x in (n, -0.0, 'a') if x in {1, 2, 3}], lambda: k")
    definition, twin = locate(module.f)
    assert definition.node.name == "f"
    assert twin.co_code == module.f.__code__.co_code


def test_constants_of_equal_value_and_other_type_differ():
    from loom._codegen import same_code

    one, true = (compile(text, "<test>", "exec") for text in ("x = 1", "x = True"))
    assert same_code(one, one)
    assert not same_code(one, true)
    zero, minus = (compile(text, "<test>", "exec") for text in ("x = 0.0", "x = -0.0"))
    assert not same_code(zero, minus)
    nested, other = (compile(f"x = (1, frozenset({{1, 2}}), {n})", "<test>", "exec") for n in (1, 2))
    assert same_code(nested, nested)
    assert not same_code(nested, other)
