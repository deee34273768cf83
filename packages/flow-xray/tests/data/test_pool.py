"""The pool: equal messages are stored once, and every value is restored unchanged."""

import json

from flow_xray._data.pool import Lists, pack
from flow_xray._data.unpack import Pool
from hypothesis import given
from hypothesis import strategies as st


def packed(value, lists=None):
    pool = []
    keys = {}

    def put(item):
        text = json.dumps(item, sort_keys=True)
        if text not in keys:
            keys[text] = len(pool)
            pool.append(item)
        return keys[text]

    return pack(value, put, lists), pool


def restored(value, pool):
    known = Pool(len(json.dumps([value, pool])))
    for index, item in enumerate(pool):
        known.add(index, item)
    return known.unpack(value)


def test_a_history_passed_many_times_is_stored_once():
    history = [{"role": "user", "content": f"question {n}"} for n in range(50)]
    values, pool = packed([history[:n] for n in range(50)])
    assert len(pool) == 49
    assert restored(values, pool) == [history[:n] for n in range(50)]


def test_with_lists_a_history_grows_with_its_length_and_not_with_its_square():
    history = [{"role": "user", "content": f"question {n}"} for n in range(200)]
    sizes = []
    for turns in (100, 200):
        values, pool = packed([history[:n] for n in range(turns)], Lists())
        assert restored(values, pool) == [history[:n] for n in range(turns)]
        sizes.append(len(json.dumps([values, pool])))
    assert sizes[1] < 2.2 * sizes[0]


def test_lists_with_a_common_beginning_are_restored_unchanged():
    messages = [{"role": "user", "content": str(n)} for n in range(8)]
    value = [messages, messages[:6], [*messages[:6], messages[0]], messages[::-1], messages, messages[:3], []]
    assert restored(*packed(value, Lists())) == value


def test_long_texts_are_pooled_and_short_ones_are_not():
    value, pool = packed({"long": "x" * 500, "short": "x"})
    assert value == {"long": {"$ref": 0}, "short": "x"}
    assert pool == ["x" * 500]


members = st.sampled_from(["$ref", "$raw", "$more", "role", "content", "x"])
json_values = st.recursive(
    st.none() | st.integers() | st.text(max_size=5) | st.just("y" * 450),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(members, inner, max_size=3),
    max_leaves=15,
)


@given(json_values, st.booleans())
def test_every_value_is_restored_including_those_that_look_like_references(value, has_lists):
    value = [value, [{"role": "user", "content": value}] * 4, value]
    assert restored(*packed(value, Lists() if has_lists else None)) == value
