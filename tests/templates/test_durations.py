import pytest

from berm.templates.durations import seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30s", 30),
        ("1m30s", 90),
        ("1.5h", 5400),
        ("500ms", 0.5),
        ("250us", 0.00025),
        ("250µs", 0.00025),
        ("10ns", 1e-8),
        (".5s", 0.5),
        ("1.s", 1),
        ("0", 0),
        ("0s", 0),
    ],
)
def test_durations(text: str, expected: float) -> None:
    assert seconds(text) == pytest.approx(expected)


@pytest.mark.parametrize(
    "text", ["", "30", "s", "-1s", "1 s", "1d", "1s ", ".s", "1s1", "9" * 400 + "s", "1e3s", "٣s"]
)
def test_what_is_no_duration(text: str) -> None:
    assert seconds(text) is None
