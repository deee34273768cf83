"""Text from elsewhere: what commands a terminal or deceives a reader is shown; languages stay."""

import json
import unicodedata

import pytest
from flow_xray.terminal import VisibleStream, visible, visible_json, visible_line

ATTACKS = {
    "title": "\x1b]0;pwned\x07",
    "clipboard": "\x1b]52;c;cm0gLXJmIH4=\x07",
    "cursor": "\x1b[1A\x1b[2K",
    "link": "\x1b]8;;http://evil.example\x1b\\safe\x1b]8;;\x1b\\",
    "device control": "\x1bPq#0\x1b\\",
    "application": "\x1b_payload\x1b\\",
    "privacy": "\x1b^payload\x1b\\",
    "C1 CSI": "\x9b2K",
    "C1 OSC": "\x9d0;pwned\x9c",
    "carriage return": "rm -rf ~\rls       ",
    "backspace": "rm\x08\x08ls",
    "bell": "\x07",
    "delete": "\x7f",
    "override": "\u202egnp.exe",
    "embedding": "\u202a\u202b\u202c\u202d",
    "isolate": "\u2066a\u2067b\u2068c\u2069",
    "marks": "\u200e\u200f\u061c",
    "zero width": "pay\u200bpal\u200c\u200d\u2060\ufeff",
    "soft hyphen": "pass\xadword",
    "fillers": "\u3164\uffa0\u115f\u1160\u034f",
    "tags": "".join(chr(0xE0000 + ord(c)) for c in "ignore"),
    "selectors on a letter": "a\ufe0f\ufe00\U000e0100",
    "selectors in a row": "\U0001f600\ufe0f\ufe0f\ufe0f",
    "data in selectors": "\U0001f600" + "".join(chr(0xE0100 + c) for c in b"hidden"),
    "tags on a flag": "\U0001f3f4" + "".join(chr(0xE0000 + ord(c)) for c in "evil") + "\U000e007f",
    "surrogate": "\udfff\ud800",
    "separators": "\u2028\u2029\x85\x0b\x0c",
    "annotation": "\ufff9a\ufffab\ufffb",
}
KEPT = {
    "family": "👨\u200d👩\u200d👧\u200d👦",
    "heart": "❤\ufe0f",
    "skin": "👍🏽",
    "health worker": "🧑🏽\u200d⚕\ufe0f",
    "keycap": "1\ufe0f\u20e3",
    "flag": "🇩🇪",
    "flag of a nation": "\U0001f3f4" + "".join(chr(0xE0000 + ord(c)) for c in "gbsct") + "\U000e007f",
    "Hebrew": "שלום עולם",
    "Arabic": "مرحبا بالعالم",
    "Persian": "می\u200cخواهم",
    "Hindi": "क्\u200dष हिन्दी",
    "Chinese": "你好，世界",
    "combining": "e\u0301 n\u0303",
    "lines": "one\n\ttwo\n",
    "Windows path": "C:\\x1b",
}


@pytest.mark.parametrize("name", ATTACKS)
def test_what_commands_or_deceives_is_shown(name: str) -> None:
    shown = visible(ATTACKS[name])
    hidden = [c for c in shown if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")]
    assert not hidden
    assert shown != ATTACKS[name]
    assert "\\" in shown


@pytest.mark.parametrize("name", KEPT)
def test_writing_stays_as_it_is(name: str) -> None:
    assert visible(KEPT[name]) == KEPT[name]


@pytest.mark.parametrize("name", [*ATTACKS, *KEPT])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_pieces_give_what_the_whole_gives(name: str, size: int) -> None:
    text = "x" + {**ATTACKS, **KEPT}[name] + "y"
    stream = VisibleStream()
    pieces = [stream.feed(text[at : at + size]) for at in range(0, len(text), size)]
    assert "".join(pieces) + stream.end() == visible(text)


def test_a_long_run_of_emoji_is_not_held_back_for_ever() -> None:
    stream = VisibleStream()
    assert len(stream.feed("😀" * 1_000)) >= 900


def test_a_line_shows_its_line_feeds_and_tabs() -> None:
    assert visible_line("a\nb\tc") == "a\\nb\\tc"


@pytest.mark.parametrize("name", [*ATTACKS, *KEPT])
def test_json_keeps_its_meaning(name: str) -> None:
    text = {**ATTACKS, **KEPT}[name]
    shown = visible_json(json.dumps({"text": text}, ensure_ascii=False, indent=2))
    assert json.loads(shown) == {"text": text}
    assert visible(shown) == shown


def test_a_link_is_shown_with_its_target() -> None:
    assert "http://evil.example" in visible(ATTACKS["link"])
