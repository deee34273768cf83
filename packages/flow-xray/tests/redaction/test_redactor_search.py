"""A search for leaks: a secret under its key, in any nesting, form and cut, is never recorded."""

import json

from flow_xray._redaction.freeze import Limits, freeze
from flow_xray._redaction.redactor import Redactor
from hypothesis import example, given, settings
from hypothesis import strategies as st

SECRET = "Zq8vW3xT7nLm2RkP"
PIECES = [SECRET[at : at + 8] for at in range(len(SECRET) - 7)]

keys = st.sampled_from(
    [
        "api_key",
        "apiKey",
        "X-Api-Key",
        "PASSWORD",
        "dbPassword",
        "client-secret",
        "access_token",
        "authorization",
        "github_token",
    ]
)
filler = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
texts = st.sampled_from(
    [
        '{{"{key}": "{secret}"}}',
        "{{'{key}': '{secret}', 'x': 1}}",
        "{key}={secret}",
        "{key}: {secret}",
        "https://h.example/?a=1&{key}={secret}",
        '{{\\"{key}\\": \\"{secret}\\"}}',
        '<a {key}="{secret}">',
        "[('{key}', '{secret}')]",
        "--{key} {secret}",
        "{key} := {secret}",
        "{key}=b'{secret}'",
        "{key}=('u', '{secret}')",
    ]
)


@st.composite
def spelled(draw):
    """A text with the secret under its key, with other text before and after."""
    inner = draw(texts).format(key=draw(keys), secret=SECRET)
    for _ in range(draw(st.integers(0, 2))):
        inner = json.dumps({"body": inner})
    before, behind = draw(filler), draw(filler)
    return f"{before} {'x' * draw(st.integers(0, 300))} {inner} {'y' * draw(st.integers(0, 300))} {behind}"


values = st.recursive(
    spelled()
    | st.builds(lambda key: {key: SECRET}, keys)
    | st.builds(lambda key: (key, SECRET), keys)
    | filler
    | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(filler, inner, max_size=3) | st.tuples(inner, inner),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(value=values, limit=st.integers(20, 400), as_bytes=st.booleans())
@example(value="x api_key: password=" + SECRET, limit=400, as_bytes=False)
@example(value=f'{{"a": "\\u0070assword={SECRET}"}}', limit=400, as_bytes=False)
def test_no_secret_under_its_key_is_recorded(value, limit, as_bytes):
    if as_bytes and isinstance(value, str):
        value = value.encode()
    kept = json.dumps(freeze(value, Redactor(), Limits(max_string=limit)), ensure_ascii=False)
    assert not [piece for piece in PIECES if piece in kept]
