"""Redaction: the four nets, and what must pass through them."""

import json
import re
import time

import pytest
from flow_xray._freeze import freeze
from flow_xray._redact import MASK, Redactor

KEY = "sk-live-0123456789abcdefghij"


@pytest.mark.parametrize(
    "key",
    ["api_key", "apiKey", "X-API-Key", "OPENAI_API_KEY", "password", "db_password", "Authorization", "cookie", "Set-Cookie",
     "client_secret", "access_token", "token", "github_token", "private_key", "credentials", "bot-token"],
)  # fmt: skip
def test_a_key_that_names_a_secret_hides_its_value(key):
    assert freeze({"outer": [{key: {"anything": 1}}]}, Redactor()) == {"outer": [{key: MASK}]}


@pytest.mark.parametrize(
    "key", ["input_tokens", "max_tokens", "keys", "author", "keyboard", "monkey", "tokenizer", "secretary", "cost_usd"]
)
def test_an_ordinary_key_is_kept(key):
    assert freeze({key: 5}, Redactor()) == {key: 5}


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {KEY}",
        f"authorization: Basic {KEY}=",
        f"Cookie: a=b; session={KEY}",
        f'{{"api_key": "{KEY}", "x": 1}}',
        f'{{"nested": [{{"password": "{KEY}"}}]}}',
        f"{{'password': '{KEY}'}}",
        json.dumps(json.dumps({"api_key": KEY})),
        f"api_key={KEY}&x=1",
        f"GET /v1?access_token={KEY} HTTP/1.1",
        f"OPENAI_API_KEY={KEY}",
        f"password: {KEY}",
        f"postgres://admin:{KEY}@db.example/x",
        f"the key {KEY} was refused",
        f"password='it\\'s {KEY}'",
        f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0{KEY[:4]}.c2lnbmF0dXJl{KEY}",
        f"-----BEGIN RSA PRIVATE KEY-----\n{KEY}\n-----END RSA PRIVATE KEY-----",
        f"-----BEGIN PRIVATE KEY-----\n{KEY}",
        "ghp_" + KEY.replace("-", "") * 2,
    ],
)
def test_a_secret_inside_a_text_is_masked(text):
    masked = Redactor().text(text)
    assert MASK in masked
    assert "0123456789abcdefghij" not in masked


@pytest.mark.parametrize(
    "text",
    [
        "input_tokens=5, max_tokens: 3",
        "see https://example.org/a?page=2 for the key ideas",
        "the token economy: tokens and keys",
        '{"input_tokens": 5}',
        "a short text",
        "C:\\new\\folder",
    ],
)
def test_an_ordinary_text_is_left_alone(text):
    assert Redactor().text(text) == text


def test_json_in_a_text_keeps_its_spelling_when_nothing_is_hidden():
    text = '{ "keys" : [1,   2] }'
    assert Redactor().text(text) == text


def test_what_was_hidden_once_is_hidden_everywhere_afterwards():
    redactor = Redactor()
    freeze({"api_key": "plain-words-123"}, redactor)
    assert freeze("the server refused plain-words-123", redactor) == f"the server refused {MASK}"


def test_short_secrets_do_not_mask_ordinary_words():
    redactor = Redactor()
    freeze({"password": "the"}, redactor)
    assert freeze("the end", redactor) == "the end"


def test_own_keys_patterns_and_callables_are_applied():
    rules = ["customer", re.compile(r"\b\d{4}-\d{4}\b"), lambda key, value: "…" if key == "body" else value]
    frozen = freeze({"customer": "Ada", "note": "card 1234-5678, customer=Ada L", "body": "long"}, Redactor(rules))
    assert frozen == {"customer": MASK, "note": f"card {MASK}, customer={MASK} L", "body": "…"}


def test_a_single_rule_needs_no_list():
    assert freeze({"who": 1}, Redactor("who")) == {"who": MASK}


def test_a_callable_that_raises_masks_and_warns_once():
    redactor = Redactor(lambda key, value: 1 / 0)
    with pytest.warns(RuntimeWarning, match="redact callable raised ZeroDivisionError"):
        assert freeze({"a": 1, "b": 2}, redactor) == {"a": MASK, "b": MASK}


def test_a_rule_of_another_type_is_refused():
    with pytest.raises(TypeError, match="cannot redact by 7"):
        Redactor([7])


def test_a_derived_redactor_shares_what_was_seen():
    base = Redactor()
    derived = Redactor("badge", base)
    freeze({"badge": "blue-badge-77"}, derived)
    assert base.text("it was blue-badge-77") == f"it was {MASK}"


@pytest.mark.parametrize(
    "text", ["-" * 40_000 + "key", "a_" * 20_000 + "key", "api_key" * 6_000, "key: " * 8_000, '"' * 30_000 + "key"]
)
def test_no_text_takes_quadratic_time(text):
    redactor = Redactor()
    redactor.text("key")
    start = time.process_time()
    redactor.text(text)
    assert time.process_time() - start < 1.0
