"""What `loom_agents.redaction` promises about lines."""

import random

from loom_agents.redaction import MASK, redact_text, shown_lines, with_lines_of

KEY = "\n".join(["-----BEGIN RSA PRIVATE KEY-----", *["MIIE" + "x1Y2" * 15] * 30, "-----END RSA PRIVATE KEY-----"])
PIECES = ["plain", "", KEY, "password = hunter2hunter2xyZ9", MASK, "a [redacted] b", "ghp_" + "a1B2c3D4" * 5]


def test_every_line_keeps_its_number() -> None:
    choose = random.Random(7)
    for _ in range(300):
        pieces = choose.choices(PIECES, k=choose.randint(1, 12))
        text = "\n".join([*pieces, "last"])
        lines = shown_lines(text)
        assert len(lines) == text.count("\n") + 1 and lines[-1] == "last"
        assert "MIIE" not in "".join(lines)
        exact = text.split("\n")
        for number, line in enumerate(lines):
            assert line in ("", exact[number]) or MASK in line


def test_a_text_without_secrets_of_several_lines_is_masked_as_usual() -> None:
    text = "one\ntoken ghp_" + "a1B2c3D4" * 5 + "\nthree"
    assert with_lines_of(text, redact_text(text)) == redact_text(text) == f"one\ntoken {MASK}\nthree"
    assert with_lines_of("a\nb", "a") == "a", "no mask tells where lines are missing"
