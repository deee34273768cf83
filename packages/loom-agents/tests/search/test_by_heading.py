from hypothesis import given
from hypothesis import strategies as st
from loom_agents._search.read.by_heading import chunks
from loom_agents._search.read.chunk import MAX_CHUNK_CHARACTERS

TEXT = """intro

# One
text one

## Two
```sh
# not a heading
```
text two

Three
=====
text three

# Four #
"""


def test_every_heading_starts_a_chunk_with_its_headings_and_line() -> None:
    assert [(c.heading, c.line) for c in chunks(TEXT)] == [
        ("", 1),
        ("One", 3),
        ("One > Two", 6),
        ("Three", 12),
        ("Four", 16),
    ]


def test_a_hash_in_a_code_block_is_not_a_heading() -> None:
    assert "# not a heading" in next(c for c in chunks(TEXT) if c.heading == "One > Two").text


def test_a_table_rule_and_front_matter_are_not_titles() -> None:
    assert {c.heading for c in chunks("---\nx: y\n---\n\n| a | b |\n|---|---|\n\n* item\n---\n")} == {""}


def test_the_title_in_the_front_matter_is_above_all_headings() -> None:
    found = list(chunks("---\ntags: [a]\ntitle: 'My page'\n---\ntext\n\n## Part\n\ntitle: no\n"))
    assert [(c.heading, c.line) for c in found] == [("My page", 1), ("My page > Part", 7)]
    assert [c.heading for c in chunks("---\ntext\n---\ntitle: no\n")] == [""]


def test_restructured_text_levels_follow_first_use() -> None:
    text = "=====\nTitle\n=====\n\nA\n---\n\nB\n~~~\n\nC\n---\nc\n"
    assert [c.heading for c in chunks(text)][-3:] == ["Title > A", "Title > A > B", "Title > C"]


def test_a_long_section_is_split_at_blank_lines() -> None:
    text = "# Long\n" + "\n\n".join("word " * 60 for _ in range(20))
    pieces = list(chunks(text))
    assert len(pieces) > 2
    assert all(len(piece.text) <= MAX_CHUNK_CHARACTERS + 400 for piece in pieces)
    assert {piece.heading for piece in pieces} == {"Long"}


@given(
    st.lists(st.sampled_from(["# a", "## b", "text", "", "```", "~~~", "====", "----", "x" * 900, " "]), max_size=60)
)
def test_chunks_have_every_line_once_at_the_stated_line(lines: list[str]) -> None:
    seen: dict[int, str] = {}
    for piece in chunks("\n".join(lines)):
        for number, line in enumerate(piece.text.split("\n"), start=piece.line):
            assert number not in seen
            seen[number] = line
    for number, line in enumerate(lines, start=1):
        assert seen.get(number, "").strip() == line.strip()
