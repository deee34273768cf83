"""The decorators take functions with and without options, and refuse everything else by one
error.
"""

import functools
import inspect
import pickle

import pytest
from loom import TailCallError, tailrec, tailstream


class Callable:
    def __call__(self): ...


@pytest.mark.parametrize("thing", [len, int, 5, Callable(), functools.partial(int), staticmethod(len), property(len)])
def test_an_object_that_is_not_a_function_is_refused(thing):
    with pytest.raises(TailCallError, match="LT001"):
        tailrec(thing)


def test_a_lambda_is_refused_at_its_keyword():
    with pytest.raises(TailCallError) as caught:
        tailrec(lambda n: n)
    assert caught.value.code == "LT002"
    assert caught.value.source_line[caught.value.column - 1 :].startswith("lambda")


def test_an_unhashable_option_is_refused_like_any_other():
    def f(n):
        return f(n - 1)

    with pytest.raises(TailCallError, match="LT009"):
        tailrec(f, group=[])


def test_an_unknown_option_is_a_type_error():
    with pytest.raises(TypeError, match="fast"):
        tailrec(fast=True)


def test_options_may_come_with_or_without_the_function():
    def f(n):
        return f(n - 1) if n else "end"

    assert tailrec(f, blocks="step")(3000) == "end"
    assert tailrec(blocks="step")(f)(3000) == "end"
    assert functools.partial(tailrec, blocks="step")(f)(3000) == "end"


def test_a_stream_may_be_a_generator():
    @tailstream()
    def count(n):
        yield n
        if n:
            yield from count(n - 1)

    assert sum(1 for _ in count(3000)) == 3001


def test_tailrec_compiles_generators_too():
    @tailrec
    def count(n):
        yield n
        if n:
            yield from count(n - 1)

    assert sum(1 for _ in count(3000)) == 3001


@pytest.mark.parametrize("decorator", [tailrec, tailstream])
def test_both_decorators_have_their_name_and_the_same_signature(decorator):
    names = ["fn", "blocks", "group", "yield_every", "allow_none", "allow_recursion"]
    assert list(inspect.signature(decorator).parameters) == names
    assert pickle.loads(pickle.dumps(decorator)) is decorator
    with pytest.raises(TypeError, match=rf"^{decorator.__name__}\(\) got an unexpected keyword argument 'fast'"):
        decorator(fast=True)
