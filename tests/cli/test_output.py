import io
import os
import pty
import sys

import pytest

from berm.cli import output


def test_clean_takes_what_drives_a_terminal_and_keeps_the_rest() -> None:
    assert output.clean("a\x1b[0m\r\x9b\x7f\tü\n") == "a\ufffd[0m\ufffd\ufffd\ufffd\tü\n"


def test_table_in_a_pipe_is_aligned_text(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("name", "state"), [("long name", None), ("x", "a\nb")])
    assert capsys.readouterr().out == "NAME       STATE\nlong name  -\nx          a b\n"


def test_table_without_rows_is_its_heading(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("name", "state"), [])
    assert capsys.readouterr().out == "NAME  STATE\n"


def test_table_on_a_terminal_takes_no_markup_from_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    with open(theirs, "w") as terminal, open(ours, "rb", buffering=0) as screen:
        monkeypatch.setattr(sys, "stdout", terminal)
        monkeypatch.setenv("TERM", "dumb")
        output.table(("name",), [("[red]x[/red]\x1b[2J",)])
        terminal.flush()
        assert b"[red]x[/red]\xef\xbf\xbd[2J" in os.read(screen.fileno(), 4096)


def test_progress_is_silent_where_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    with output.progress("file", 10) as shown:
        shown(10)
    assert stderr.getvalue() == ""
