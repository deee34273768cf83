"""The step form behaves as the recursion does: a frame per step for closures, waiting frames for
open blocks.
"""


def test_a_nested_function_keeps_its_step(programs):
    programs.same(
        """
        @tailrec
        def f(n, fs=()):
            def g(): return n
            if n == 0: return [h() for h in fs]
            return f(n-1, fs + (g,))
        def main(): return f(4)
        """
    )


def test_a_nested_function_writes_its_own_step(programs):
    programs.same(
        """
        @tailrec
        def f(n, fs=()):
            x = 0
            def inc():
                nonlocal x
                x += n
                return x
            inc()
            if n == 0: return [h() for h in fs], x
            return f(n-1, fs + (inc,))
        def main(): return f(4)
        """
    )


def test_a_class_body_keeps_its_step(programs):
    programs.same(
        """
        @tailrec
        def f(n, xs=()):
            if n == 0: return xs
            class Foo:
                v = n
                def m(self): return n
            return f(n-1, xs + (Foo.v, Foo().m(), Foo.__qualname__))
        def main(): return f(4)
        """
    )


def test_a_lambda_in_a_comprehension_keeps_its_step(programs):
    programs.same(
        """
        @tailrec
        def f(n, acc=()):
            if n == 0: return acc
            ys = [lambda: (n, i) for i in range(2)]
            return f(n-1, acc + tuple(y() for y in ys))
        def main(): return f(3)
        """
    )


def test_a_generator_expression_keeps_its_step(programs):
    programs.same(
        """
        @tailrec
        def f(n, g):
            if n == 0: return [x for x in g]
            return f(n-1, (n for _ in range(2)))
        def main(): return f(3, ())
        """
    )


def test_a_generator_of_closures_keeps_its_steps(programs):
    programs.same(
        """
        @tailrec
        def g(n):
            fs = lambda: n
            yield fs
            if n == 0: return "R"
            yield from g(n-1)
        def main():
            def outer():
                r = yield from g(3)
                LOG.append(r)
            return [h() for h in outer()]
        """
    )


def test_an_async_generator_of_closures_keeps_its_steps(programs):
    programs.same(
        """
        @tailstream(blocks="step")
        async def g(n, fs=()):
            yield (lambda: n)
            try:
                LOG.append(("in", n))
                if n == 2: raise ValueError
            except ValueError:
                pass
            if n:
                async for x in g(n-1):
                    yield x
        async def main(): return [h() for h in await collect(g(4))]
        """
    )


def test_a_tail_call_in_a_handler_passes_the_exception(programs):
    programs.same(
        """
        @tailrec
        def f(n, err=None):
            if n:
                try: raise ValueError(n)
                except ValueError as err:
                    return f(n-1, err)
            return repr(err)
        def main(): return f(3)
        """
    )


def test_nested_decorated_functions_nest(programs):
    programs.same(
        """
        @tailrec
        def outer(n):
            @tailrec
            def inner(m):
                if m == 0: return n
                return inner(m-1)
            r = inner(3)
            if n == 0: return r
            return outer(n-1)
        def main(): return outer(3)
        """
    )


def test_yield_every_counts_in_the_driver(programs):
    programs.same(
        """
        @tailrec(yield_every=3)
        async def f(n, fs=()):
            if n == 0: return len(fs)
            return await f(n-1, fs + ((lambda: n),))
        async def main():
            t = asyncio.create_task(f(30)); k = 0
            while not t.done():
                await asyncio.sleep(0); k += 1
            return await t
        """,
        lines=False,
    )


def test_handlers_see_deeper_errors_when_blocks_are_exact(programs):
    programs.same(
        """
        @tailrec(blocks="exact")
        def f(n):
            if n == 0: raise ValueError("deep")
            try:
                if n == 3:
                    return f(n - 1)
            except ValueError:
                return ("handled at", n)
            return f(n - 1)
        def main(): return f(5)
        """
    )


def test_finally_may_discard_the_result_when_blocks_are_exact(programs):
    programs.same(
        """
        @tailrec(blocks="exact")
        def f(n):
            for i in range(3):
                try:
                    LOG.append((n, i))
                    if n == 0: return "end"
                    if i == 1: return f(n-1)
                finally:
                    LOG.append(("fin", n, i))
                    if n == 3: continue
            return ("loop done", n)
        def main(): return f(3)
        """
    )


def test_exits_run_inside_out_when_blocks_are_exact(programs):
    programs.same(
        """
        import contextlib
        @contextlib.asynccontextmanager
        async def cm(n):
            LOG.append(("enter", n)); await asyncio.sleep(0)
            try: yield n
            except KeyError: LOG.append(("swallow", n))
            finally: LOG.append(("exit", n)); await asyncio.sleep(0)
        @tailrec(blocks="exact")
        async def f(n, d=0):
            if n == 0: raise KeyError
            async with cm(n) as q, cm(-n):
                return await f(q - 1, d=d+1)
            return ("after", n, d)
        async def main(): return await f(4)
        """
    )


def test_cancellation_unwinds_every_step_when_blocks_are_exact(programs):
    programs.same(
        """
        @tailrec(blocks="exact")
        async def f(n):
            try:
                await asyncio.sleep(0 if n else 100)
                if n: return await f(n-1)
            except asyncio.CancelledError:
                LOG.append(("cancel", n)); raise
            finally:
                LOG.append(("fin", n))
        async def main():
            t = asyncio.create_task(f(3))
            for _ in range(20): await asyncio.sleep(0)
            t.cancel()
            try: await t
            except asyncio.CancelledError: return "cancelled"
        """
    )


def test_generators_keep_blocks_open_when_exact(programs):
    programs.same(
        """
        @tailrec(blocks="exact")
        def g(n):
            try:
                x = yield n
                LOG.append(("got", n, x))
                if n == 0: return "R"
                return (yield from g(n-1))
            except ValueError as e:
                LOG.append(("caught", n))
                yield ("recovered", n)
                return "V"
            finally:
                LOG.append(("fin", n))
        def main():
            it = g(2); out=[next(it), it.send("a"), it.throw(ValueError("v"))]
            try:
                while True: out.append(it.send(len(out)))
            except StopIteration as e: out.append(("ret", e.value))
            it = g(2); next(it); next(it); it.close()
            return out
        """
    )


def test_a_delegation_in_a_block_drops_its_result_when_exact(programs):
    programs.same(
        """
        @tailrec(blocks="exact")
        def g(n):
            with open("/dev/null") as fh:
                yield n
                if n == 0: return "R"
                yield from g(n-1)
                return
        def main():
            def o():
                r = yield from g(2)
                LOG.append(r)
            return list(o())
        """
    )


def test_async_generators_keep_blocks_open_when_exact(programs):
    programs.same(
        """
        @tailstream(blocks="exact")
        async def s(n):
            with open("/dev/null") as fh:
                LOG.append((yield n))
                if n == 0: raise KeyError(n)
                try:
                    async for x in s(n-1):
                        yield x
                    return
                except KeyError as e:
                    yield ("handled", n)
                    if n < 3: raise
                    return
        async def main():
            g = s(2); out = [await g.asend(None), await g.asend("a"), await g.asend("b")]
            try: out.append(await g.athrow(ValueError))
            except ValueError: out.append("out")
            return out, await collect(s(5))
        """
    )


def test_stop_iteration_leaves_a_function_as_it_is_when_exact(programs):
    programs.same(
        """
        @tailrec(blocks="exact")
        def f(n):
            if n == 0: raise StopIteration(3)
            try: return f(n-1)
            except ValueError: pass
        def main():
            try: return f(3)
            except StopIteration as e: return e.value
        """
    )


def test_binding_errors_point_into_the_block_when_exact(programs):
    programs.same(
        """
        @tailrec(blocks="exact")
        def f(n):
            if n == 0: return 1
            with open("/dev/null"):
                return f(n - 1, **{"z": 1})
        def main(): return f(3)
        """
    )


def test_members_of_a_group_call_each_other(programs):
    programs.same(
        """
        @tailrec(group="g")
        def even(n, log=()):
            if n == 0: return ("even", log)
            return odd(n - 1, log + (n,))
        @tailrec(group="g")
        def odd(n, log=(), *rest, k=3, **kw):
            if n == 0: return ("odd", log, rest, k, kw)
            return even(n - 1, *log[:0], log=log + (k,)) if n % 4 else third(n-1)
        def third(n): return ("third", n)
        def main(): return even(7), even(6), odd(4)
        """
    )


def test_a_binding_error_between_members_is_pythons(programs):
    programs.same(
        """
        @tailrec(group="g")
        def a(n): return b(n-1) if n else "a"
        @tailrec(group="g")
        def b(n, q=1): return a(n-1, 2)
        def main(): return a(2)
        """
    )


def test_methods_of_a_group_respect_overrides(programs):
    programs.same(
        """
        class M:
            @tailrec(group="m")
            async def open(self, n):
                if n == 0: return "open"
                return await self.closed(n-1)
            @tailrec(group="m")
            async def closed(self, n):
                LOG.append(self.name)
                if n == 0: return "closed"
                return await self.open(n-1)
            name = 1
        class N(M):
            name = 2
            async def open(self, n):
                LOG.append("override")
                return await super().open(n)
        async def main(): return await M().open(5), await N().open(4), await M.closed(N(), 3)
        """
    )


def test_streams_of_a_group_continue_each_other(programs):
    programs.same(
        """
        @tailstream(group="g")
        async def a(n):
            yield ("a", n)
            if n:
                async for x in b(n-1): yield x
        @tailstream(group="g")
        async def b(n):
            fs = [lambda: n]
            yield ("b", fs[0]())
            if n:
                async for x in a(n-1): yield x
        async def main(): return await collect(a(4))
        """
    )


def test_generators_of_a_group_keep_or_drop_results(programs):
    programs.same(
        """
        @tailrec(group="g")
        def a(n):
            yield ("a", n)
            return (yield from b(n-1)) if n else "done"
        @tailrec(group="g")
        def b(n):
            yield ("b", n)
            yield from a(n-1)
        def main():
            def o():
                LOG.append((yield from a(4)))
                LOG.append((yield from b(1)))
            return list(o())
        """
    )


def test_step_scoped_blocks_end_before_the_next_step(programs):
    module = programs.load(
        """
        @tailrec(blocks="step")
        def f(n):
            for i in range(3):
                try:
                    LOG.append((n, i))
                    if n == 0: return "end"
                    if i == 1: return f(n - 1)
                finally:
                    LOG.append(("exit", n, i))
        """
    )
    assert module.f(1) == "end"
    assert module.LOG == [(1, 0), ("exit", 1, 0), (1, 1), ("exit", 1, 1), (0, 0), ("exit", 0, 0)]


def test_a_finally_that_continues_cancels_the_step(programs):
    module = programs.load(
        """
        @tailrec(blocks="step")
        def f(n):
            for i in range(2):
                try:
                    return f(n - 1)
                finally:
                    LOG.append(i)
                    continue
            return "went on"
        """
    )
    assert module.f(9) == "went on"
    assert module.LOG == [0, 1]


def test_a_stream_whose_exit_fails_continues_in_its_handler(programs):
    """The transition was pending when the exit raised; the handler took over, so the step is not
    left.
    """
    module = programs.load(
        """
        class Fails:
            def __enter__(self): pass
            def __exit__(self, *_): raise KeyError
        @tailstream(blocks="step")
        async def s(n):
            yield n
            try:
                with Fails():
                    async for x in s(n - 1):
                        yield x
                    return
            except KeyError:
                yield "handled"
            yield "end"
        """
    )
    assert module.asyncio.run(module.collect(module.s(3))) == [3, "handled", "end"]


def test_a_stream_whose_failing_exit_is_suppressed_continues_after_it(programs):
    module = programs.load(
        """
        import contextlib
        class Fails:
            def __enter__(self): pass
            def __exit__(self, *_): raise KeyError
        @tailstream(blocks="step")
        async def s(n):
            yield n
            with contextlib.suppress(KeyError):
                with Fails():
                    async for x in s(n - 1):
                        yield x
                    return
            yield "end"
        """
    )
    assert module.asyncio.run(module.collect(module.s(3))) == [3, "end"]


def test_deep_exact_blocks_need_no_stack(programs):
    module = programs.load(
        """
        @tailrec(blocks="exact")
        def f(n, total=0):
            try:
                return total if n == 0 else f(n - 1, total + n)
            finally:
                LOG.append(n)
        """
    )
    assert module.f(5000) == 12502500
    assert module.LOG == list(range(5001))


def test_deep_groups_need_no_stack(programs):
    module = programs.load(
        """
        @tailrec(group="parity")
        async def even(n):
            return True if n == 0 else await odd(n - 1)
        @tailrec(group="parity")
        async def odd(n):
            return False if n == 0 else await even(n - 1)
        """
    )
    assert module.asyncio.run(module.even(5001)) is False
