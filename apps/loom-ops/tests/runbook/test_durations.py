import pytest
from loom_ops._runbook.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("1h30m", 5400), ("14d", 1_209_600), ("0.5s", 0.5)]
)
def test_a_duration_is_read_and_written(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "5", "5 s", "-5s", "0s", "s", "1m1h", "1e3s", "٣s", 5, None])
def test_anything_else_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)
