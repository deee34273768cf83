import pytest
from loom_agents._errors import ToolError
from loom_agents._workspace.write.edit import as_bytes, as_text, replaced, with_endings_of


def _edited(data: bytes, old: str, new: str) -> bytes:
    return as_bytes(replaced("f", as_text("f", data), old, new).text)


def test_the_one_match_is_replaced_and_nothing_else_changes() -> None:
    done = replaced("f", "a\nb\nc\n", "b\n", "x\ny\n")
    assert (done.text, done.line) == ("a\nx\ny\nc\n", 2)


def test_windows_line_endings_stay_and_the_model_need_not_write_them() -> None:
    assert _edited(b"a\r\nb\r\nc\r\n", "a\nb", "x\ny\nz") == b"x\r\ny\r\nz\r\nc\r\n"


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("b\nc\n", "B\nC\n", b"a\nB\r\nC\r\nd\n"),
        ("d\n", "D\nE\n", b"a\nb\r\nc\r\nD\nE\n"),
        ("a\nb", "A", b"A\r\nc\r\nd\n"),
        ("\nd", "\nX", b"a\nb\r\nc\r\nX\n"),
    ],
)
def test_in_a_file_with_both_kinds_of_line_endings_the_rest_keeps_its_own(old: str, new: str, wanted: bytes) -> None:
    assert _edited(b"a\nb\r\nc\r\nd\n", old, new) == wanted


def test_a_byte_order_mark_and_bytes_that_are_no_text_stay() -> None:
    assert _edited(b"\xef\xbb\xbfone\n", "one", "two") == b"\xef\xbb\xbftwo\n"
    assert _edited(b"caf\xe9\nold\n", "old", "new") == b"caf\xe9\nnew\n"


def test_new_text_that_does_not_fit_the_encoding_is_refused() -> None:
    with pytest.raises(ToolError, match="not UTF-8"):
        _edited(b"caf\xe9\nold\n", "old", "n\xe9w")


def test_without_a_match_a_similar_line_is_shown() -> None:
    with pytest.raises(ToolError) as error:
        replaced("app.py", "def add(a, b):\n    return a + b\n", "def add(a,b):\n", "x")
    assert str(error.value) == (
        "cannot edit 'app.py': `old` is not in it. A similar line is line 1: 'def add(a, b):'. Copy the text exactly"
        " as read_file shows it."
    )


def test_without_a_similar_line_the_length_of_the_file_is_shown() -> None:
    with pytest.raises(ToolError, match="`old` is not in it; the file has 1 line"):
        replaced("app.py", "def add(a, b):\n", "zzzzzzzzzz", "x")


def test_several_matches_are_counted_and_placed() -> None:
    with pytest.raises(ToolError) as error:
        replaced("f", "x\ny\nx\n" * 5, "x\n", "z")
    assert "`old` occurs 10 times, in lines 1, 3, 4, 6, 7, ..." in str(error.value)
    assert "Add surrounding lines" in str(error.value)


def test_matches_that_overlap_are_several() -> None:
    with pytest.raises(ToolError, match="2 times"):
        replaced("f", "aaa", "aa", "b")


@pytest.mark.parametrize(("old", "new", "message"), [("", "x", "empty"), ("a", "a", "same"), ("a\r\n", "a\n", "same")])
def test_an_edit_without_a_change_is_refused(old: str, new: str, message: str) -> None:
    with pytest.raises(ToolError, match=message):
        replaced("f", "a\nb\n", old, new)


def test_a_binary_file_is_refused() -> None:
    with pytest.raises(ToolError, match="not a text file"):
        as_text("f", b"GIF\0")


def test_a_file_that_is_replaced_keeps_its_line_endings_and_its_mark() -> None:
    assert with_endings_of("\ufeffa\r\nb\r\n", "x\ny\n") == "\ufeffx\r\ny\r\n"
    assert with_endings_of("a\nb\n", "x\r\ny\n") == "x\r\ny\n"
    assert with_endings_of("a\r\nb\n", "x\ny\n") == "x\ny\n"


def test_text_with_a_masked_secret_is_refused_with_the_reason() -> None:
    with pytest.raises(ToolError, match="`old` contains .redacted., which stands for a secret that the file has"):
        replaced("config.txt", "password: real\nport: 1\n", "password: [redacted]\nport: 1\n", "port: 2\n")


def test_the_mask_never_replaces_a_secret() -> None:
    with pytest.raises(ToolError, match="would replace it"):
        replaced("config.txt", "password: real\nport: 1\n", "port: 1\n", "password: [redacted]\n")


def test_around_a_secret_a_file_can_be_edited() -> None:
    assert replaced("config.txt", "password: real\nport: 1\n", "port: 1\n", "port: 2\n").text.startswith(
        "password: real"
    )
