"""Calls are bound as Python binds them."""


def test_mangled_parameters_are_matched_by_their_mangled_name(programs):
    programs.same(
        """
        class K:
            @tailrec
            def f(self, n, __x=0): return __x if n == 0 else self.f(n-1, __x+1)
            @tailrec
            def __g(self, n, __x=0):
                __y = n
                if n % 2: __z = n
                if n == 0: return __x, __y, __z
                return self.__g(n-1, _K__x=__x+__y)
            def run(self): return self.f(3), self.__g(3)
        def main(): return K().run()
        """
    )


def test_dunder_keywords_outside_a_class_are_plain_names(programs):
    programs.same(
        """
        @tailrec
        def f(n, *, __x=0): return __x if n == 0 else f(n-1, __x=__x+1)
        def main(): return f(3)
        """
    )


def test_every_kind_of_parameter_is_bound(programs):
    programs.same(
        """
        @tailrec
        def f(a, b, c, d, e=5, *rest, k, **kw):
            LOG.append((a,b,c,d,e,rest,k,sorted(kw.items())))
            if a == 0: return "end"
            return f(b-1 if a==3 else a-1, a, b, c, d, e, *rest, k=len(rest), z=a)
        def main(): return f(3,2,1,0,k=1)
        """
    )


def test_positions_are_permuted_at_once(programs):
    programs.same(
        """
        @tailrec
        def f(a, b, c, d):
            if a == 0: return a, b, c, d
            return f(a-1, a, b, c)
        def main(): return f(5, 1, 2, 3)
        """
    )


def test_a_walrus_in_the_arguments_is_seen_by_later_ones(programs):
    programs.same(
        """
        @tailrec
        def f(a, b, c, d):
            if a == 0: return a, b, c, d
            return f(d=(a := a - 1), c=a, b=b, a=d)
        def main(): return f(3, 1, 2, 3)
        """
    )


def test_keywords_are_evaluated_in_their_order(programs):
    programs.same(
        """
        def t(x, v):
            LOG.append(x); return v
        @tailrec
        def f(a, /, b, *, c=1, **kw):
            LOG.append((a,b,c,kw))
            if a == 0: return "end"
            return t("callee", f)(a-1, 0) if a == 9 else f(t("a", a-1), c=t("c", b), b=t("b", a))
        def main(): return f(2, 7)
        """
    )


def test_a_spread_of_positions_is_bound(programs):
    programs.same(
        """
        @tailrec
        def f(n, *a):
            if n == 0: return a
            return f(*[n-1, *a], n)
        def main(): return f(3)
        """
    )


def test_too_many_spread_positions_raise_the_same_error(programs):
    programs.same(
        """
        @tailrec
        def f(n, a=1):
            if n == 0: return a
            return f(*(n-1, 2, 3))
        def main(): return f(3)
        """
    )


def test_an_unknown_spread_keyword_raises_the_same_error(programs):
    programs.same(
        """
        @tailrec
        def f(n, a=1):
            if n == 0: return a
            return f(n-1, **{"b": 1})
        def main(): return f(3)
        """
    )


def test_a_spread_that_is_not_a_mapping_raises_the_same_error(programs):
    programs.same(
        """
        @tailrec
        def f(n, a=1):
            if n == 0: return a
            return f(n-1, **3)
        def main(): return f(3)
        """
    )


def test_a_spread_that_is_not_iterable_raises_the_same_error(programs):
    programs.same(
        """
        @tailrec
        def f(n, a=1):
            if n == 0: return a
            return f(n-1, *3)
        def main(): return f(3)
        """
    )


def test_a_spread_receiver_raises_the_same_error(programs):
    programs.same(
        """
        class K:
            @tailrec
            def f(self, n, a=1):
                if n == 0: return a
                return self.f(n-1, **{"self": 1})
        def main(): return K().f(3)
        """
    )


def test_a_receiver_may_land_in_star_args(programs):
    programs.same(
        """
        class K:
            @tailrec
            def f(self, *args):
                if not args: return "end"
                return self.f(*args[1:])
            @tailrec
            def g(*args, **kw):
                self, n = args
                if n == 0: return kw
                return self.g(n-1, n=n)
            @tailrec
            def h(*args):
                if len(args) > 3: return len(args)
                return args[0].h(*args)
        def main(): return K().f(1,2,3), K().g(2), K().h(1)
        """
    )


def test_mutable_defaults_are_shared(programs):
    programs.same(
        """
        @tailrec
        def f(n, acc=[]):
            acc.append(n)
            if n == 0: return list(acc)
            return f(n-1)
        def main():
            r = f(2), f(1)
            f.__defaults__ = ([],)
            return r, f(2)
        """
    )


def test_defaults_that_change_within_a_call_are_seen(programs):
    programs.same(
        """
        @tailrec
        def f(n, acc=1):
            if n == 0: return acc
            if n == 2: f.__defaults__ = (acc+5,)
            return f(n-1)
        def main(): return f(4), f(3)
        """
    )


def test_missing_defaults_raise_the_same_error(programs):
    programs.same(
        """
        @tailrec
        def f(n, acc=1):
            if n == 0: return acc
            return f(n-1)
        def main():
            f.__defaults__ = None
            return f(3, 4)
        """
    )


def test_keyword_defaults_are_read_at_the_call(programs):
    programs.same(
        """
        @tailrec
        def f(n, *, acc=1):
            if n == 0: return acc
            return f(n-1)
        def main():
            a = f(3)
            f.__kwdefaults__ = {"acc": 2}
            b = f(3)
            f.__kwdefaults__ = {}
            return a, b, f(3, acc=1)
        """
    )


def test_spreads_and_defaults_mix(programs):
    programs.same(
        """
        @tailrec
        def f(a, b=[], *c, d={}, **e):
            if a == 0: return b, c, d, e
            b.append(a); d[a] = a
            return f(a - 1, b, *c, a, d=d, **e, **{str(a): a})
        def main(): return f(3), f(1)
        """
    )


def test_keyword_only_parameters_change(programs):
    programs.same(
        """
        @tailrec
        def f(n, *, k):
            return k if not n else f(n - 1, k=k+1)
        def main(): return f(3, k=0)
        """
    )
