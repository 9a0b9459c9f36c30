"""What commands print: tables, JSON, lines. Text may come from inside a sandbox, so it is cleaned."""

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

Progress = Callable[[int], None]
"""Called with the number of bytes that went by."""

_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What moves the cursor, turns the direction of writing or cannot be encoded; not tab and newline."""


def clean(text: str) -> str:
    """Text without the characters that could drive the reader's terminal."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text)


def line(text: str = "") -> None:
    """One line on stdout."""
    sys.stdout.write(clean(text) + "\n")


def note(text: str) -> None:
    """One line on stderr: what is going on, for a person."""
    sys.stderr.write(clean(text) + "\n")
    sys.stderr.flush()


def as_json(value: Any) -> None:
    """A value as JSON on stdout, indented."""
    line(json.dumps(value, indent=2))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Aligned columns under a heading; on a terminal, fitted to its width."""
    if sys.stdout.isatty():
        _rich_table(columns, rows)
    else:
        _plain_table(columns, rows)


def _cell(value: object) -> str:
    return "-" if value is None or value == "" else clean(str(value)).replace("\n", " ")


def _plain_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    lines = [[name.upper() for name in columns], *([_cell(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for cells in lines:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        line("  ".join(padded).rstrip())


def _rich_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    from rich.console import Console  # noqa: PLC0415 - 50 ms that commands without tables need not wait for
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    shown = Table(*(name.upper() for name in columns), box=None, pad_edge=False, header_style="bold")
    for row in rows:
        shown.add_row(*(Text(_cell(value), overflow="fold") for value in row))
    Console().print(shown)


def size(count: int | None) -> str:
    """Bytes for a person, in powers of 1024."""
    if count is None:
        return ""
    value, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return f"{value:.0f} {units[0]}" if units[0] == "B" else f"{value:.1f} {units[0]}"


def duration(milliseconds: float | None) -> str:
    """A time for a person."""
    if milliseconds is None:
        return ""
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60)} s"


@contextmanager
def progress(label: str, total: int | None) -> Iterator[Progress]:
    """A bar on stderr for a transfer of `total` bytes, if a person is looking; else nothing."""
    if not sys.stderr.isatty():
        yield lambda _count: None
        return
    from rich.console import Console  # noqa: PLC0415 - 50 ms that scripts need not wait for
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn  # noqa: PLC0415
    from rich.progress import Progress as Bar  # noqa: PLC0415

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(clean(label), total=total)
        yield lambda count: bar.advance(task, count)


@contextmanager
def activity(label: str) -> Iterator[None]:
    """A spinner on stderr while something goes on that takes long; lines may be noted meanwhile."""
    if not sys.stderr.isatty():
        note(label)
        yield
        return
    from rich.console import Console  # noqa: PLC0415 - 50 ms that scripts need not wait for
    from rich.text import Text  # noqa: PLC0415

    with Console(stderr=True).status(Text(clean(label))):
        yield
