import pytest
from loom_agents import ModelReply, ToolCall
from loom_agents._models.masked_replies import MaskedText, masked_reply
from loom_agents.redaction import MASK

TOKEN = "gh" + "p_" + "a1B2" * 9
KEY = "-----BEGIN PRIVATE" + " KEY-----\n" + "MIIEvQIBADANBgkq\n" * 3 + "-----END PRIVATE" + " KEY-----"


def test_text_and_calls_of_a_reply_hold_no_secret() -> None:
    arguments = {"text": f"token={TOKEN}", "deep": [{TOKEN: TOKEN}], "n": 1}
    call = ToolCall("1", f"get_{TOKEN}", arguments)
    masked = masked_reply(ModelReply(f"it is {TOKEN}", (call, ToolCall("2", "t", {}, f'{{"a": "{TOKEN}'))))
    assert masked.text == f"it is {MASK}"
    assert masked.tool_calls[0].arguments == {"text": f"token={MASK}", "deep": [{MASK: MASK}], "n": 1}
    assert TOKEN not in repr(masked)
    assert "[" not in masked.tool_calls[0].name


def test_code_with_an_example_of_a_password_stays() -> None:
    call = ToolCall("1", "write_file", {"text": "login(password='hunter2hunter2')\n"})
    assert masked_reply(ModelReply("", (call,))).tool_calls == (call,)


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize(
    "text",
    [
        f"The token is {TOKEN}.\nNext line, password: hunter2hunter2 and more",
        f"Authorization: Bearer {TOKEN}",
        f"a key:\n{KEY}\nend",
        f"é{TOKEN}é",
    ],
)
def test_a_secret_in_pieces_is_not_passed_on(text: str, size: int) -> None:
    got: list[str] = []
    masked = MaskedText(got.append)
    for start in range(0, len(text), size):
        masked.add(text[start : start + size])
    masked.end()
    whole = "".join(got)
    for secret in (TOKEN, "hunter2hunter2", "MIIEvQ"):
        assert secret not in whole
    assert MASK in whole


def test_a_text_without_secrets_arrives_word_by_word_and_unchanged() -> None:
    got: list[str] = []
    masked = MaskedText(got.append)
    for word in ("One ", "two", " three.\n", "\n", "Fo", "ur"):
        masked.add(word)
    assert got == ["One ", "two three.\n", "\n"]
    masked.end()
    assert "".join(got) == "One two three.\n\nFour"
