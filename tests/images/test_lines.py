from berm.images.lines import Lines


def lines_of(*pieces: bytes, limit: int = 4096) -> list[str]:
    found: list[str] = []
    lines = Lines(found.append, limit)
    for piece in pieces:
        lines.feed(piece)
    lines.close()
    return found


def test_lines_may_arrive_in_any_pieces() -> None:
    assert lines_of(b"one\ntw", b"o\n", b"thr", b"ee") == ["one", "two", "three"]


def test_a_character_may_be_cut_in_two() -> None:
    assert lines_of("né".encode()[:2], "né".encode()[2:]) == ["né"]


def test_bytes_that_are_not_text_are_replaced() -> None:
    assert lines_of(b"a\xffb\n\xc3") == ["a�b", "�"]


def test_carriage_returns_end_lines_and_blank_lines_are_left_out() -> None:
    assert lines_of(b"10%\r20%\r\n", b"\n  \ndone\n") == ["10%", "20%", "done"]


def test_terminal_control_is_taken_out() -> None:
    assert lines_of(b"\x1b[31mred\x1b[0m \x07bell\x1b\n\x1b[2J") == ["red bell"]


def test_a_line_is_cut_at_the_limit_however_it_arrives() -> None:
    assert lines_of(b"abcdef\n", b"ab", b"cdef", b"ghi\nxy", limit=4) == ["abcd", "abcd", "xy"]
