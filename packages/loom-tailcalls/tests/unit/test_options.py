"""Invalid options are refused with a reason."""

import pytest
from loom._options import Options, why_not_usable

BAD = [
    ({"blocks": "maybe"}, "coroutine", "blocks='maybe'"),
    ({"group": ""}, "coroutine", "group=''"),
    ({"group": 3}, "coroutine", "group=3"),
    ({"group": "g", "blocks": "exact"}, "coroutine", "cannot be used in a group"),
    ({"yield_every": 0}, "coroutine", "yield_every=0"),
    ({"yield_every": True}, "coroutine", "yield_every=True"),
    ({"yield_every": 2.5}, "coroutine", "yield_every=2.5"),
    ({"yield_every": 2}, "function", "this function cannot await"),
    ({"yield_every": 2}, "generator", "this generator cannot await"),
    ({"yield_every": 2, "blocks": "exact"}, "coroutine", "together"),
]


@pytest.mark.parametrize(("said", "kind", "reason"), BAD)
def test_a_bad_option_is_refused_with_a_reason(said, kind, reason):
    assert reason in why_not_usable(Options(**said), kind)


@pytest.mark.parametrize(
    "said", [{}, {"blocks": "step"}, {"blocks": "exact"}, {"group": "g", "blocks": "step"}, {"yield_every": 5}]
)
def test_a_good_option_is_accepted(said):
    assert why_not_usable(Options(**said), "coroutine") is None
