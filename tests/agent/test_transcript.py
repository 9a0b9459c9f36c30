import pytest

from berm.agent import transcript
from berm.agent.transcript import LONGEST, Allowance, Transcript

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
    written = Transcript(7, Allowance(burst=100, rate=10))
    written.add("stdout", b"a" * 99 + b"\n" + b"b" * 50)
    clock.now += 0.5
    written.add("stdout", b"c\n")
    assert [message for _, message, _ in entries] == ["a" * 99]
    clock.now += 1
    written.add("stdout", b"d\n")
    assert [message for _, message, _ in entries[1:]] == [
        "52 bytes of output are not logged, as there was much of it",
        "d",
    ]
    written.add("stdout", b"e" * 100)
    written.close()
    assert entries[-1][:2] == ("warn", "87 bytes of output are not logged, as there was much of it")


def test_a_pause_gives_the_burst_back_and_no_more(clock: Clock) -> None:
    allowance = Allowance(burst=100, rate=10)
    assert allowance.take(150) == 100
    clock.now += 3600
    assert allowance.take(1000) == 100
