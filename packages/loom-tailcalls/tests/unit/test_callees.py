"""The guard recognises this function; every other callee is called."""


def test_a_receiver_may_change_from_step_to_step(programs):
    programs.same(
        """
        class Node:
            def __init__(self, v, nxt): self.v, self.next = v, nxt
            @tailrec
            def total(self, acc=0):
                if self.next is None: return acc + self.v
                return self.next.total(acc + self.v)
        def main(): return Node(1, Node(2, Node(3, None))).total()
        """
    )


def test_static_class_and_unbound_methods_are_reached(programs):
    programs.same(
        """
        class K:
            @staticmethod
            @tailrec
            def s(n): return n if n == 0 else K.s(n-1)
            @classmethod
            @tailrec
            def c(cls, n, acc=()): return acc if n == 0 else cls.c(n-1, acc+(cls.__name__,))
            @tailrec
            def u(self, n): return "u" if n == 0 else K.u(self, n-1)
            @tailrec
            def t(self, n): return "t" if n == 0 else type(self).t(self, n-1)
        class L(K): pass
        def main(): return K.s(3), L.c(2), L().u(3), L().t(3), L.s(2), L.u(None, 3)
        """
    )


def test_an_assigned_self_is_the_next_receiver(programs):
    programs.same(
        """
        class K:
            @tailrec
            def f(self, n):
                if n == 2: self = K2()
                if n == 0: return type(self).__name__
                return self.f(n-1)
        class K2(K):
            pass
        def main(): return K().f(4)
        """
    )


def test_an_instance_attribute_is_called_first(programs):
    programs.same(
        """
        class K:
            @tailrec
            def f(self, n):
                if n == 0: return "end"
                if n == 2: self.f = lambda n: ("instance", n)
                return self.f(n-1)
        def main(): return K().f(4)
        """
    )


def test_a_rebound_global_is_called(programs):
    programs.same(
        """
        @tailrec
        def f(n, acc=0):
            global f
            if n == 2: f = lambda n, acc: ("other", n, acc)
            if n == 0: return acc
            return f(n-1, acc+n)
        def main(): return f(4)
        """
    )


def test_attribute_lookup_happens_once_a_step(programs):
    programs.same(
        """
        import functools
        class K:
            @functools.cached_property
            def q(self): return 1
            @tailrec
            def f(self, n):
                LOG.append(self.q)
                return self.f(n-1) if n else "e"
            def __getattribute__(self, name):
                LOG.append(name)
                return object.__getattribute__(self, name)
        def main(): return K().f(2)
        """
    )


def test_comparing_receivers_does_not_call_their_eq(programs):
    programs.same(
        """
        class K:
            def __init__(self, x): self.x = x
            def __eq__(self, o): raise KeyError
            __hash__ = None
            @tailrec
            def f(self, n): return self.f(n-1) if n else self.x
        def main(): return K(4).f(3)
        """
    )


def test_super_and_class_cell_work(programs):
    programs.same(
        """
        class A:
            def m(self, n): return ("A", n)
        class B(A):
            @tailrec
            def m(self, n):
                if n == 0: return super().m(n), __class__.__name__
                return self.m(n-1)
        class D(B): pass
        def main(): return D().m(3)
        """
    )


def test_a_decorator_below_may_return_the_function(programs):
    programs.same(
        """
        def deco(fn): return fn
        @tailrec
        @deco
        def f(n): return f(n-1) if n else "end"
        def main(): return f(3)
        """
    )


def test_functions_created_in_a_loop_are_independent(programs):
    programs.same(
        """
        def main():
            out = []
            for i in range(3):
                @tailrec
                def f(n, k=i): return (k, i) if n == 0 else f(n-1, k)
                out.append(f)
            return [g(2) for g in out], out[0] is not out[1]
        """
    )
