"""The loop form behaves as the recursion does."""


def test_loops_with_else_and_break_are_left(programs):
    programs.same(
        """
        @tailrec
        def f(n):
            if n == 0: return 0
            while n:
                if n == 2: break
                n -= 1
                if n == 5:
                    return f(n-1)
            else:
                return f(n-1)
            return ("broke", n)
        def main(): return f(9), f(3)
        """
    )


def test_nested_loops_are_left(programs):
    programs.same(
        """
        @tailrec
        def f(n, d=0):
            for i in range(2):
                for j in range(2):
                    LOG.append((n,i,j))
                    if n == 0: return "end"
                    if j: break
                else:
                    return f(n-1, "else")
                if i:
                    for k in [1]:
                        while True:
                            return f(n-1, "deep")
            return "never"
        def main(): return f(2)
        """
    )


def test_a_for_else_inside_an_else_is_left(programs):
    programs.same(
        """
        @tailrec
        def f(n, acc=()):
            for acc2 in (1, 2):
                pass
            else:
                for q in range(3):
                    if q == 2 and n: return f(n-1, acc + (q,))
                else:
                    LOG.append("else")
            return acc
        def main(): return f(2)
        """
    )


def test_a_finally_in_a_loop_without_a_tail_call_stays(programs):
    programs.same(
        """
        @tailrec
        def f(n):
            while n:
                try:
                    n -= 1
                    if n == 3: break
                    continue
                finally: LOG.append(n)
            else:
                return "done"
            return f(n)
        def main(): return f(9)
        """
    )


def test_match_cases_are_tail_positions(programs):
    programs.same(
        """
        @tailrec
        def f(n, s=None):
            match n, s:
                case (0, _): return s
                case (k, None) if k % 2: return f(k - 1, [k])
                case (k, [*xs]): return f(k - 1, [*xs, k])
                case _: return f(n - 1, [])
        def main(): return f(5), f(4)
        """
    )


def test_errors_in_arguments_point_at_their_line(programs):
    programs.same(
        """
        @tailrec
        def f(n, x=None):
            if n == 0: return x
            return f(n - 1,
                x or
                  [n].undefined)
        def main(): return f(3)
        """
    )


def test_an_unknown_name_in_an_argument_raises(programs):
    programs.same(
        """
        @tailrec
        def f(n):
            if n == 0: return 1
            return f(n - 1 + g)
        def main(): return f(3)
        """
    )


def test_stop_iteration_passes(programs):
    programs.same(
        """
        @tailrec
        def f(it):
            if next(it) == 0: return "end"
            return f(it)
        def main(): return f(iter([1,2]))
        """
    )


def test_comprehensions_read_the_step_they_run_in(programs):
    programs.same(
        """
        @tailrec
        def f(n, acc=()):
            if n == 0: return acc
            return f(n-1, acc=acc + tuple(n*i for i in range(2)) + tuple([n+j for j in range(2)]))
        def main(): return f(3)
        """
    )


def test_async_loops_and_comprehensions_run(programs):
    programs.same(
        """
        @tailrec
        async def f(n, acc=()):
            if n == 0: return acc
            xs = [await asyncio.sleep(0, i+n) for i in range(2)]
            ys = [z async for z in agen(n)]
            async for q in agen(1):
                if q: return await f(n-1, acc + (*xs, *ys))
        async def agen(n):
            for i in range(n, n+2): yield i
        async def main(): return await f(2)
        """,
        lines=False,
    )


def test_inner_functions_may_call_the_function(programs):
    programs.same(
        """
        @tailrec
        def f(n, acc=()):
            if n == 0: return acc
            def f2(k): return f(0, ("inner", k))
            return f(n-1, acc + f2(n))
        def main(): return f(2)
        """
    )


def test_annotations_and_qualified_names_stay(programs):
    programs.same(
        """
        @tailrec
        def f(n: int, acc: "x" = 0) -> "list":
            def inner(a: int = n) -> str: return a
            if n == 0: return acc, inner.__annotations__, inner.__qualname__, inner.__code__.co_qualname
            return f(n-1, acc + inner())
        def main(): return f(3), f.__annotations__, f.__defaults__, f.__qualname__
        """
    )


def test_an_assert_on_the_function_itself_holds(programs):
    programs.same(
        """
        @tailrec
        def f(n):
            f2 = f
            if n == 0: return "x"
            assert f2 is f, "no"
            return f(n-1)
        def main(): return f(3)
        """
    )


def test_a_one_line_function_raises_on_its_line(programs):
    programs.same(
        """
        @tailrec
        def f(n): return f(n-1) if n else 1/n
        def main(): return f(2)
        """
    )


def test_a_generator_drops_the_result_of_yield_from(programs):
    programs.same(
        """
        @tailrec
        def g(n):
            x = yield n
            LOG.append(x)
            if n == 0: return "R"
            yield from g(n-1)
        def main():
            it = g(2); out=[next(it)]
            try:
                while True: out.append(it.send(len(out)))
            except StopIteration as e: out.append(("ret", e.value))
            return out
        """
    )


def test_a_generator_returns_the_result_of_yield_from(programs):
    programs.same(
        """
        @tailrec
        def g(n):
            x = yield n
            LOG.append(x)
            if n == 0: return "R"
            return (yield from g(n-1))
        def main():
            it = g(2); out=[next(it)]
            try:
                while True: out.append(it.send(len(out)))
            except StopIteration as e: out.append(("ret", e.value))
            return out
        """
    )


def test_an_exception_thrown_in_reaches_the_generator(programs):
    programs.same(
        """
        @tailrec
        def g(n):
            try:
                yield n
            except ValueError as e:
                LOG.append(("caught", n))
            if n == 0: return "R"
            if n == 2:
                yield from g(n-1)
                return
            return (yield from g(n-1))
        def main():
            it = g(3); out=[next(it)]
            out.append(it.throw(ValueError()))
            try:
                while True: out.append(next(it))
            except StopIteration as e: out.append(("ret", e.value))
            return out
        """
    )


def test_a_generator_loops_over_its_next_step(programs):
    programs.same(
        """
        @tailstream
        def g(n):
            yield n
            if n:
                for x in g(n-1):
                    yield x
        def main():
            return list(g(4))
        """
    )


def test_many_parameters_are_assigned_one_by_one(programs):
    programs.same(
        """
        @tailrec
        def f(n, s, t, u, v):
            if n == 0: return s, t, u, v
            return f(n - 1, t, [n + 1 for x in s], (lambda q=n: q + 1)(), v=s)
        def main(): return f(3, [1], [2], 3, 4)
        """
    )


def test_an_unchanged_parameter_that_was_deleted_raises(programs):
    programs.same(
        """
        @tailrec
        def f(n, k):
            if n == 2:
                del k
            if n == 0: return "end"
            return f(n - 1, k)
        def main(): return f(3, "k")
        """
    )


def test_arguments_on_their_own_lines_run_on_them(programs):
    programs.same(
        """
        @tailrec
        def f(n, k,
              j=1):
            if n == 0: return k
            return f(
                n - 1,
                k,
                j
            )
        def main(): return f(3, "k")
        """
    )


def test_a_delegation_may_be_followed_by_return(programs):
    programs.same(
        """
        @tailstream
        async def s(n):
            yield n
            if n == 0:
                return
            async for x in s(n - 1):
                yield x
            return
        async def main(): return await collect(s(3))
        """
    )
