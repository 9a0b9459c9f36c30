import pytest

from berm.agent import transcript
from berm.agent.transcript import BURST, LONGEST, OVERHEAD, Allowance, Transcript

Entries = list[tuple[str, str, str]]


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> Entries:
    """What is logged: level, message and logger."""
    found: Entries = []

    def log(level: str, message: str, **fields: str) -> None:
        found.append((level, message, fields["logger"]))

    monkeypatch.setattr(transcript, "log", log)
    return found


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(transcript, "time", clock)
    return clock


def test_lines_are_logged_by_stream_whole(entries: Entries) -> None:
    written = Transcript(7, Allowance())
    written.add("stdout", b"one\ntw")
    written.add("stderr", b"bad\n\n  \n")
    written.add("stdout", b"o\r\nthree")
    assert entries == [
        ("info", "one", "process.stdout"),
        ("info", "bad", "process.stderr"),
        ("info", "two", "process.stdout"),
    ]
    written.close()
    assert entries[3:] == [("info", "three", "process.stdout")]


def test_a_terminal_is_not_logged(entries: Entries) -> None:
    written = Transcript(7, Allowance())
    written.add("pty", b"a password\n")
    written.close()
    assert entries == []


@pytest.mark.parametrize("character", ["x", "\u00fc", "\u20ac", "\U0001f600"])
def test_a_long_line_comes_in_pieces_of_whole_characters(entries: Entries, character: str) -> None:
    written = Transcript(7, Allowance())
    written.add("stdout", b"." + character.encode() * 1000)
    written.close()
    assert "".join(message for _, message, _ in entries) == "." + character * 1000
    assert all(LONGEST - 4 < len(message.encode()) <= LONGEST for _, message, _ in entries[:-1])


def test_what_is_no_text_is_logged_all_the_same(entries: Entries) -> None:
    written = Transcript(7, Allowance())
    written.add("stdout", b"\x80" * 700 + b"\n\xff\x00\n")
    assert "".join(message for _, message, _ in entries) == "\ufffd" * 701 + "\0"


def test_much_output_is_logged_in_part_and_says_so(entries: Entries, clock: Clock) -> None:
    line = b"a" * (200 - OVERHEAD) + b"\n"
    written = Transcript(7, Allowance(burst=1000, rate=400))
    written.add("stdout", line * 8)
    clock.now += 0.5
    written.add("stdout", line)
    assert [message for _, message, _ in entries] == ["a" * 72] * 5
    clock.now += 1
    written.add("stdout", b"d\n")
    note = f"{4 * len(line)} bytes of output are not logged, as there was much of it"
    assert entries[5:] == [("warn", note, "process"), ("info", "d", "process.stdout")]
    written.add("stdout", line * 5)
    written.close()
    assert entries[-1][0] == "warn"


def test_a_pause_gives_the_burst_back_and_no_more(clock: Clock) -> None:
    allowance = Allowance(burst=100, rate=10)
    for _ in range(2):
        assert allowance.is_open()
        assert allowance.take(100)
        assert not allowance.take(1)
        assert not allowance.is_open()
        clock.now += 3600


@pytest.mark.parametrize("flood", [b"\n", b"y\n", b"x"])
def test_no_flood_makes_a_large_log(entries: Entries, clock: Clock, flood: bytes) -> None:
    written = Transcript(7, Allowance())
    for _ in range(100):
        written.add("stdout", flood * (65536 // len(flood)))
    written.close()
    assert sum(len(message) + OVERHEAD for _, message, _ in entries) <= BURST + 10 * OVERHEAD
    assert entries[-1][0] == "warn"
