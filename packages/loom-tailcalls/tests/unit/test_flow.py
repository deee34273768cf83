"""A step begins with fresh locals."""


def test_a_conditional_local_does_not_leak(programs):
    programs.same(
        """
        @tailrec
        def f(n):
            if n % 2: x = n
            try:
                LOG.append(x)
            except UnboundLocalError as e: LOG.append(str(e))
            if n == 0: return
            return f(n-1)
        def main(): return f(5)
        """
    )


def test_a_loop_variable_does_not_leak(programs):
    programs.same(
        """
        @tailrec
        def f(n):
            for i in range(n): pass
            LOG.append(("i", i))
            if n == 0: return
            return f(n-1)
        def main(): return f(3)
        """
    )


def test_try_except_else_locals_do_not_leak(programs):
    programs.same(
        """
        @tailrec
        def f(n):
            try:
                if n % 2: raise ValueError(n)
                y = 1
            except ValueError as err:
                z = repr(err)
            else:
                LOG.append(y)
            LOG.append(z)
            if n == 0: return
            return f(n-1)
        def main(): return f(3)
        """
    )


def test_a_local_after_a_suppressing_with_does_not_leak(programs):
    programs.same(
        """
        @tailrec
        def f(n):
            import contextlib
            with contextlib.suppress(ZeroDivisionError):
                q = 1 // (n % 2)
            LOG.append(q)
            if n == 0: return
            return f(n-1)
        def main(): return f(3)
        """
    )


def test_pattern_captures_do_not_leak(programs):
    programs.same(
        """
        @tailrec
        def f(n):
            match n:
                case 3: a = "three"
                case [a]: pass
                case {"k": v, **rest}: return v, rest
                case int(x) if x % 2: b = x
            LOG.append(n)
            if n == 1: return b
            if n == 2:
                try: LOG.append(a)
                except NameError as e: LOG.append(str(e))
            return f(n-1)
        def main(): return f(3)
        """
    )


def test_a_conditional_walrus_does_not_leak(programs):
    programs.same(
        """
        @tailrec
        def f(n):
            if n == 0: return "end"
            if (m := n) > 1: k = m
            return f(n-1) if n > 1 else k
        def main(): return f(3)
        """
    )


def test_a_walrus_in_a_comprehension_binds_the_parameter(programs):
    programs.same(
        """
        @tailrec
        def f(n):
            if n == 0: return "end"
            [n := n - 1 for _ in range(1)]
            return f(n)
        def main(): return f(3)
        """
    )


def test_a_deleted_parameter_is_unbound(programs):
    programs.same(
        """
        @tailrec
        def f(n, big=None):
            del big
            if n == 0:
                try: big
                except UnboundLocalError as e: return str(e)
            return f(n-1)
        def main(): return f(3)
        """
    )


def test_an_except_name_may_be_a_parameter(programs):
    programs.same(
        """
        @tailrec
        def f(n, err=None):
            try:
                if n: raise ValueError(n)
            except ValueError as err:
                LOG.append(repr(err))
            if n == 0: return err
            return f(n-1, err)
        def main(): return f(3)
        """
    )
