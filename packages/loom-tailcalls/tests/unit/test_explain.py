"""The explanation is readable as text and complete as data."""

import json

import pytest
from loom import TailCallError, explain_tailcalls, tailrec, tailstream


@tailrec
def decorated(n, acc=0, **more):
    late = n
    if n > 5:
        extra = 1
    if n == 0:
        return acc, extra
    return decorated(n - 1, **more) if late else decorated(n - 1, acc + 1)


def test_the_data_is_json_and_has_every_site():
    facts = explain_tailcalls(decorated, as_json=True)
    assert json.loads(json.dumps(facts)) == facts
    assert (facts["mode"], facts["kind"], facts["form"], facts["accepted"]) == ("tailrec", "function", "loop", True)
    assert [(site["call"], site["binding"]) for site in facts["sites"]] == [
        ("decorated(n - 1, **more)", "bind"),
        ("decorated(n - 1, acc + 1)", "direct"),
    ]
    assert facts["cleared"] == ["extra"]
    assert facts["refused"] == facts["deviations"] == facts["captured"] == []


def test_the_source_is_python():
    source = explain_tailcalls(decorated, as_json=True)["source"]
    compile(source, "<shown>", "exec")
    assert "while True:" in source
    assert "if decorated is _loom_this:" in source


def test_the_kind_is_snake_case_as_data_and_words_as_text():
    @tailstream
    async def numbers(n):
        yield n
        async for number in numbers(n - 1):
            yield number

    assert explain_tailcalls(numbers, as_json=True)["kind"] == "async_generator"
    assert "accepted: async generator, loop form" in explain_tailcalls(numbers)


def test_the_text_has_the_form_and_the_sites():
    text = explain_tailcalls(decorated)
    assert "accepted: function, loop form" in text
    assert "decorated(n - 1, **more) [bind]" in text
    assert "cleared between steps: extra" in text


def test_the_step_form_shows_step_and_driver():
    @tailrec
    async def f(n, fs=()):
        return fs if n == 0 else await f(n - 1, (*fs, lambda: n))

    facts = explain_tailcalls(f, as_json=True)
    assert (facts["form"], facts["captured"]) == ("step", ["n"])
    compile(facts["source"], "<shown>", "exec")
    assert "_loom_step_of_f" in facts["source"]
    text = explain_tailcalls(f)
    assert "kept by closures, so every step has its own frame: n" in text
    assert "may starve the event loop" in text


@pytest.mark.parametrize("blocks", ["step", "exact"])
def test_blocks_and_handlers_are_shown(blocks):
    @tailrec(blocks=blocks)
    async def f(n):
        try:
            async with n as m:
                return await f(m)
        except* ValueError as error:
            print(error)

    facts = explain_tailcalls(f, as_json=True)
    assert facts["sites"][0]["blocks"] == ["try", "async with"]
    assert facts["sites"][0]["keeps_blocks"] is (blocks == "exact")
    compile(facts["source"], "<shown>", "exec")


def test_every_driver_is_shown_as_python():
    @tailrec(blocks="exact")
    async def stream(n):
        with n:
            async for x in stream(n):
                yield x

    assert "except BaseException as _loom_" in explain_tailcalls(stream, as_json=True)["source"].replace("_loom_B", "B")


def test_an_undecorated_function_is_checked():
    def fine(n):
        return fine(n - 1)

    def bad(n):
        return 1 + bad(n - 1)

    assert explain_tailcalls(fine, as_json=True)["accepted"]
    facts = explain_tailcalls(bad, as_json=True)
    assert (facts["accepted"], facts["form"], facts["refused"][0]["code"]) == (False, None, "LT011")
    assert "refused" in explain_tailcalls(bad)
    assert "LT011 at line" in explain_tailcalls(bad)


def test_methods_of_every_kind_are_explained():
    class K:
        @tailrec
        def m(self, n):
            return self.m(n - 1)

        @classmethod
        @tailrec
        def c(cls, n):
            return cls.c(n - 1)

        @staticmethod
        @tailrec
        def s(n):
            return K.s(n - 1)

    for fn in (K.m, K().m, K.c, K.s, K.__dict__["s"], K.__dict__["c"]):
        assert explain_tailcalls(fn, as_json=True)["accepted"]


def test_a_function_without_source_is_reported_as_refused():
    space = {}
    exec(compile("def f(n): return f(n)", "<without source>", "exec"), space)
    facts = explain_tailcalls(space["f"], as_json=True)
    assert (facts["accepted"], facts["refused"][0]["code"]) == (False, "LT003")


def test_an_object_that_is_not_a_function_is_refused():
    with pytest.raises(TailCallError, match="LT001"):
        explain_tailcalls(print)
