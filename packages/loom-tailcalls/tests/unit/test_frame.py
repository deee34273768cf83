"""Names belong to the frame that binds them."""


def test_a_global_named_like_a_comprehension_variable_stays_global(programs):
    programs.same(
        """
        x = "global"
        @tailrec
        def f(n, acc=()):
            ys = [x for x in range(n)]
            if n == 0: return acc, x
            return f(n-1, acc + (x,))
        def main(): return f(2)
        """
    )


def test_a_nested_comprehension_does_not_make_a_local(programs):
    programs.same(
        """
        x = "global"
        @tailrec
        def f(n, acc=()):
            ys = {x: k for x in range(n) for k in [x]}
            zs = [lambda: x for x in range(2)]
            if n == 0: return acc, x
            return f(n-1, acc + (x, zs[0]()))
        def main(): return f(2)
        """
    )


def test_a_redefined_builtin_is_not_introspection(programs):
    programs.same(
        """
        eval = lambda s: ("mine", s)
        @tailrec
        def f(n):
            if n == 0: return eval("n")
            return f(n-1)
        def main(): return f(2)
        """
    )


def test_statements_that_bind_names_are_recognised(programs):
    programs.same(
        """
        @tailrec
        def f(n):
            global g
            def g(): return 5
            class H: pass
            import os as o, sys
            return f(n-1) if n else (g(), H.__qualname__, o.name, sys.byteorder)
        def main(): return f(2)
        """
    )


def test_annotated_and_unpacked_names_are_local(programs):
    programs.same(
        """
        @tailrec
        def f(n, acc=()):
            if n == 0: return acc
            t: int = n * 2
            u: str
            (a, *b), c = [1, n], n
            acc += (a, b, c, t)
            x = y = n
            return f(n-1, acc)
        def main(): return f(2)
        """
    )


def test_nonlocal_names_use_the_real_cell(programs):
    programs.same(
        """
        def make():
            count = 0
            @tailrec
            def f(n):
                nonlocal count
                count += 1
                if n == 0: return count
                return f(n-1)
            def read(): return count
            return f, read
        def main():
            f, r = make()
            return f(3), r(), f(2), r()
        """
    )


def test_global_names_are_written_through(programs):
    programs.same(
        """
        X = 1
        @tailrec
        def f(n):
            global X
            X += n
            if n == 0: return X
            return f(n-1)
        def main(): return f(3), X
        """
    )
