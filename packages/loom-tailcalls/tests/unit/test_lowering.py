"""Returned expressions and nested statements are split where Python jumps."""


def test_and_returns_the_falsy_operand(programs):
    programs.same(
        """
        @tailrec
        def f(n):
            return n > 0 and n != 7 and f(n - 1)
        def main(): return f(5), f(9), f(-1)
        """
    )


def test_or_returns_the_truthy_operand(programs):
    programs.same(
        """
        @tailrec
        def f(n):
            return n <= 0 or LOG.append(n) or f(n - 1)
        def main(): return f(5)
        """
    )


def test_conditionals_and_operators_nest(programs):
    programs.same(
        """
        @tailrec
        def f(n):
            return (f(n-1) if n > 5 else "mid" if n == 5 else n and f(n - 1)) if n else "zero"
        def main(): return f(4), f(9), f(0)
        """
    )


def test_awaits_nest_in_operators(programs):
    programs.same(
        """
        @tailrec
        async def f(n):
            return n and (await asyncio.sleep(0) or (await f(n-1) if n % 2 else await f(n-2)))
        async def main(): return await f(7), await f(8)
        """
    )


def test_a_multi_line_docstring_stays(programs):
    programs.same(
        '''
        @tailrec
        def f(n):
            """multi
        line"""; x = n
            return f(n-1) if n else (f.__doc__, x)
        def main(): return f(2)
        '''
    )


def test_a_docstring_stays(programs):
    programs.same(
        """
        @tailrec
        def f(n):
            "doc"
            return f(n-1) if n else f.__doc__
        def main(): return f(2)
        """
    )


def test_definitions_in_a_long_elif_chain_are_found(programs):
    programs.same(
        """

        @tailrec
        def f(n):
            if n == 1000: return f(n - 1)
            elif n == 1: return f(n - 1)
            elif n == 2: return f(n - 1)
            elif n == 3: return f(n - 1)
            elif n == 4: return f(n - 1)
            elif n == 5: return f(n - 1)
            elif n == 6: return f(n - 1)
            elif n == 7: return f(n - 1)
            elif n == 8: return f(n - 1)
            elif n == 9: return f(n - 1)
            elif n == 10: return f(n - 1)
            elif n == 11: return f(n - 1)
            return "end"
        def main(): return f(10)
        """
    )
