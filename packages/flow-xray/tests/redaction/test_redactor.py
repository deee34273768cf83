"""Redaction: the four mechanisms, and what they must not mask."""

import json
import re
import time
from dataclasses import dataclass, field

import pytest
from flow_xray._redaction.freeze import Limits, freeze
from flow_xray._redaction.redactor import MASK, Redactor

KEY = "sk-live-0123456789abcdefghij"


@pytest.mark.parametrize(
    "key",
    ["api_key", "apiKey", "X-API-Key", "OPENAI_API_KEY", "password", "db_password", "Authorization", "cookie", "Set-Cookie",
     "client_secret", "access_token", "token", "github_token", "private_key", "credentials", "bot-token", "slackToken",
     "SecretAccessKey", "Ocp-Apim-Subscription-Key", "passwords", "api_keys", "new_password1", "basic_auth", "PGPASSWORD",
     "clientSecretValue", "ssh_key", "secrets", "otp", "Api Key", "AccountKey", "X-Amz-Signature", "X-Amz-Credential"],
)  # fmt: skip
def test_a_value_under_a_key_that_names_a_secret_is_masked(key):
    assert freeze({"outer": [{key: KEY}]}, Redactor()) == {"outer": [{key: MASK}]}
    assert freeze({"outer": [{key: {"anything": [KEY]}}]}, Redactor()) == {"outer": [{key: {"anything": [MASK]}}]}


@pytest.mark.parametrize(
    "key", ["input_tokens", "max_tokens", "keys", "author", "keyboard", "monkey", "tokenizer", "secretary", "cost_usd",
     "eos_token", "cost_per_token", "time_to_first_token", "primary_key", "idempotency_key", "sort_key", "password_policy",
     "secret_name", "compass", "passed", "session_id", "token_count", "signature"]
)  # fmt: skip
def test_an_ordinary_key_is_not_masked(key):
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
        f"https://{KEY}@git.example/x",
        f"postgres://u:p@{KEY}@db.example/x",
        f"https://h.example/x?key={KEY}&sig={KEY}",
        f"next=%3Ftoken%3D{KEY}%26x",
        f"response: {{'apiKey': '{KEY}'}}",
        f"{{'auth': ('user', '{KEY}')}} and {{'credentials': {{'a': '{KEY}'}}}}",
        f"password: |\n  {KEY}\n",
        "é" + "ghp_" + KEY.replace("-", "") * 2 + "é",
        "get_ghp_" + KEY.replace("-", "") * 2 + "_now",
        f"password: correct horse {KEY}",
        f"password = a,{KEY}",
        f"connect(password=SecretStr('{KEY}'))",
        f'password="""{KEY}"""',
        f"password => {KEY}",
        f"<password>{KEY}</password>",
        f'<add key="apiKey" value="{KEY}"/>',
        f'name="password"\r\n\r\n{KEY}\r\n',
        f"[('x-api-key', '{KEY}')] [(b'authorization', b'{KEY}')]",
        f"run --password {KEY}",
        f"curl -u admin:{KEY} h.example",
        f"the token is {KEY}",
        f"API KEY: {KEY}",
        f"DB_PASS={KEY}",
        f'{{"\\u0070assword": "{KEY}"}}',
        f"-----BEGIN PGP PRIVATE KEY BLOCK-----\n{KEY}\n-----END PGP PRIVATE KEY BLOCK-----",
        f"{KEY.replace('-', '')}\n-----END RSA PRIVATE KEY-----",
        json.dumps(
            {"headers": [{"name": "x-api-key", "value": KEY}, ["authorization", KEY]], "argv": ["--token", KEY]}
        ),
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
        "author: Ada, sort_key: name, primary_key=5",
        "pass: 12, tests pass: True, failed=0",
        "https://example.org:8080/a@b and git@host:x/y.git and https://user@example.org",
        "password=None, use_auth=False",
        "the password is required; the token is a word",
        "Basic authentication by bearer of news",
        "KeyError: 'name'",
        "class='key' value='x' (a, 'b') <title>Hi</title>",
        "-u user -x --verbose on",
        "press any key: y",
        "def login(user: str, password: str, token: bytes = None): ...",
        "password: str",
    ],
)
def test_ordinary_text_is_unchanged(text):
    assert Redactor().text(text) == text


def test_json_in_a_text_is_unchanged_when_nothing_is_masked():
    text = '{ "keys" : [1,   2] }'
    assert Redactor().text(text) == text


def test_a_pair_an_option_and_a_named_value_are_members():
    given = {
        "pairs": [("authorization", KEY), (b"x-api-key", KEY.encode()), ("accept", "json")],
        "argv": ["curl", "--api-key", KEY, "-v"],
        "har": [{"name": "Cookie", "value": KEY}, {"key": "region", "value": "eu"}],
    }
    assert freeze(given, Redactor()) == {
        "pairs": [["authorization", MASK], ["<9 bytes b'x-api-key'>", MASK], ["accept", "json"]],
        "argv": ["curl", "--api-key", MASK, "-v"],
        "har": [{"name": "Cookie", "value": MASK}, {"key": "region", "value": "eu"}],
    }


def test_none_and_booleans_under_a_secret_key_stay():
    given = {"password": None, "use_auth": True, "token": "", "api_key": 123456, "auth": {"type": "basic"}}
    assert freeze(given, Redactor()) == {
        "password": None,
        "use_auth": True,
        "token": "",
        "api_key": MASK,
        "auth": {"type": "basic"},
    }
    assert freeze({"badge": None}, Redactor("badge")) == {"badge": MASK}


def test_bytes_are_redacted_before_they_are_cut():
    frozen = freeze(b"." * 290 + b"password=" + KEY.encode() + b"." * 9_000, Redactor())
    assert KEY[:8] not in frozen
    assert freeze(f"password={KEY}".encode("utf-16"), Redactor()) == f"<{2 * len(KEY) + 20:,} bytes {MASK}>"


class Shown:
    def __init__(self, text):
        self.text = text

    def __repr__(self):
        return self.text


@pytest.mark.parametrize("kind", [str, Shown, str.encode])
@pytest.mark.parametrize(
    "secret",
    [f'"api_key": "{KEY}"', f"password={KEY}", f"-----BEGIN PRIVATE KEY-----\n{KEY}\n-----END PRIVATE KEY-----"],
)
def test_no_cut_separates_a_secret_from_its_key(kind, secret):
    for limit in (60, 400):
        for before in (*range(0, limit + 40, 9), 8_000, 9_000):
            for after in (0, 20, 9_000):
                text = "x" * before + " " + secret + " " + "y" * after
                frozen = freeze(kind(text), Redactor(), Limits(max_string=limit))
                assert not [n for n in range(len(KEY) - 8) if KEY[n : n + 8] in frozen], (limit, before, after)


def test_a_field_without_repr_is_not_recorded():
    @dataclass
    class Login:
        user: str
        pin: str = field(repr=False)

    assert freeze(Login("ada", KEY)) == {"user": "ada", "pin": "<not recorded: repr=False>"}


def test_a_key_of_an_object_is_a_text_too():
    redactor = Redactor()
    freeze({"api_key": "plain-words-123"}, redactor)
    assert freeze({"plain-words-123": 1, f"password={KEY}": 20_000, b"password": KEY}, redactor) == {
        MASK: 1,
        f"password={MASK}": MASK,
        "password": MASK,
    }


def test_a_secret_found_in_a_text_is_known_from_then_on():
    redactor = Redactor()
    freeze(f"postgres://admin:{KEY}@db.example", redactor)
    assert freeze(f"login failed for {KEY}", redactor) == f"login failed for {MASK}"
    freeze({"password": "a b/c&d-77"}, redactor)
    assert freeze("q=a%20b%2Fc%26d-77", redactor) == f"q={MASK}"


def test_a_text_masked_once_is_masked_everywhere_afterwards():
    redactor = Redactor()
    freeze({"api_key": "plain-words-123"}, redactor)
    assert freeze("the server refused plain-words-123", redactor) == f"the server refused {MASK}"


def test_short_secrets_do_not_mask_ordinary_words():
    redactor = Redactor()
    freeze({"password": "the"}, redactor)
    assert freeze("the end", redactor) == "the end"


def test_custom_keys_patterns_and_callables_are_applied():
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


def test_a_derived_redactor_shares_the_known_secrets():
    base = Redactor()
    derived = Redactor("badge", base)
    freeze({"badge": "blue-badge-77"}, derived)
    assert base.text("it was blue-badge-77") == f"it was {MASK}"


@pytest.mark.parametrize(
    "text",
    [
        "-" * 40_000 + "key",
        "a_" * 20_000 + "key",
        "api_key" * 6_000,
        "key: " * 8_000,
        '"' * 30_000 + "key",
        "password=" * 6_000,
        "password=(" * 5_000,
        "password=[" * 5_000,
        "://a:" * 9_000 + "@",
        "<password>" * 5_000,
        "('password', '" * 4_000,
        "password='''" * 5_000,
        "-----END PRIVATE KEY" * 2_000,
        "password=a," * 8_000,
        "-----BEGIN PRIVATE KEY-----" * 2_000,
        "A" * 60_000 + "-----END PRIVATE KEY-----",
        "password: |\n" * 5_000,
        " " * 60_000 + "key",
        '{"a":' * 10_000 + " key",
        "is password was " * 4_000,
        "%3D" * 9_000 + "key",
    ],
)
def test_no_text_takes_quadratic_time(text):
    redactor = Redactor()
    redactor.text("key")
    start = time.process_time()
    redactor.text(text)
    assert time.process_time() - start < 1.0


def test_a_chat_that_is_passed_repeatedly_is_redacted_once():
    redactor = Redactor()
    history = [
        {"role": "user", "content": f"turn {n}: " + "the key to the token is in the author's pass " * 200}
        for n in range(20)
    ]
    freeze(history, redactor)
    start = time.process_time()
    for _ in range(50):
        freeze(history, redactor)
    assert time.process_time() - start < 1.0, "looked at anew it takes several seconds"
    freeze([{"role": "user", "content": history[0]["content"] + " tr0ub4dor-3x"}], redactor)
    freeze({"api_key": "tr0ub4dor-3x"}, redactor)
    history[0]["content"] += " tr0ub4dor-3x"
    assert MASK in freeze(history, redactor)[0]["content"]


def test_of_many_secrets_those_that_were_not_seen_for_long_are_forgotten():
    redactor = Redactor()
    freeze({"password": "used-Secret-77"}, redactor)
    for n in range(600):
        freeze([{"token": f"filler-{n:04}-x"}, "with used-Secret-77" if n % 100 == 0 else ""], redactor)
    freeze({"password": "real-Secret-77"}, redactor)
    assert len(redactor.known) < 1_000
    assert freeze("used-Secret-77 real-Secret-77 filler-0000-x", redactor) == f"{MASK} {MASK} filler-0000-x"


@pytest.mark.parametrize(
    "word", ["customers", "session", "/var/lib/app1", "2026-11-21", "v1.2.3-rc1", "user_id_2", "12.5ms"]
)
def test_words_paths_dates_and_names_are_not_remembered(word):
    redactor = Redactor()
    freeze({"password": word, "api_key": [word]}, redactor)
    assert freeze(f"see {word}", redactor) == f"see {word}"


def test_secrets_of_a_configuration_are_masked_everywhere_and_never_forgotten():
    redactor = Redactor(secrets=["just words"])
    for n in range(600):
        redactor.remember(f"filler-{n:04}-x")
    assert redactor.value({"a": ["these are just words", 5]}) == {"a": [f"these are {MASK}", 5]}


def test_without_memory_the_result_depends_on_the_value_alone():
    redactor = Redactor(remembers=False)
    assert redactor.text("password=real-Secret-77") == f"password={MASK}"
    assert redactor.text("it was real-Secret-77") == "it was real-Secret-77"


def test_a_value_without_a_secret_is_the_same_object():
    value = {"a": [1, {"token_count": 5, "session": {"id": "x"}, "auth": {"type": "basic"}}]}
    assert Redactor().value(value) is value


def test_values_that_were_redacted_stay_as_they_are():
    text = json.dumps({"password": "hunter2hunter2", "log": "api_key=abc123def456ghi789"})
    once = Redactor().text(text)
    assert Redactor().text(once) == once
