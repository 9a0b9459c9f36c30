"""The guide is run as it stands: every line of its `sh` blocks, in one shell, against a real berm."""

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.instance import BERM, Instance

GUIDE = Path(__file__).parents[1] / "docs/guide.md"
MARK = "-- end of block --"

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    script: str
    expected: str | None
    """The `text` block right after it."""


def blocks(page: str) -> list[Block]:
    found: list[Block] = []
    end = -1
    for match in _BLOCK.finditer(page):
        kind, text = match.groups()
        if kind == "sh":
            found.append(Block(text, None))
        elif kind == "text" and not page[end : match.start()].strip():
            found[-1] = Block(found[-1].script, text)
        end = match.end()
    return found


def pattern(expected: str) -> str:
    """A regular expression for output in which `...` stands for anything, and blanks for blanks.

    A line that is only `...` stands for any number of lines.
    """
    return r"\s*" + "".join(map(_line_pattern, expected.splitlines())) + r"\s*"


def _line_pattern(line: str) -> str:
    if line == "...":
        return r"(?:[^\n]*\n)*"
    pieces = (r"[ \t]+".join(map(re.escape, piece.split())) for piece in line.split("..."))
    return r"[^\n]*".join(pieces) + r"[ \t]*\n"


@pytest.mark.parametrize(
    ("expected", "output", "fits"),
    [
        ("a b\n", "a   b\n", True),
        ("a\n", "a\nb\n", False),
        ("a ... z\n", "a b c z\n", True),
        ("a ... z\n", "a\nz\n", False),
        ("a\n...\nz\n", "a\nb\nc\nz\n", True),
        ("a\n...\nz\n", "a\nb\n", False),
        ("...\nz\n...\n", "z\n", True),
    ],
)
def test_a_pattern_fits_what_it_should(expected: str, output: str, fits: bool) -> None:
    assert bool(re.fullmatch(pattern(expected), output)) is fits


@pytest.fixture
def clean(berm: Instance) -> Iterator[Instance]:
    """A server that knows nothing of the guide's template, before and after."""
    berm.berm("template", "delete", "greeter", check=False)
    yield berm
    berm.berm("template", "delete", "greeter", check=False)


def test_the_guide(clean: Instance, tmp_path: Path) -> None:
    found = blocks(GUIDE.read_text())
    script = "".join(f"{block.script}\necho '{MARK}'\n" for block in found)
    environment = {
        **clean.env,
        **dict.fromkeys(("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"), "Guide"),
        **dict.fromkeys(("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"), "guide@example.org"),
        "PATH": f"{Path(BERM).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f"exec 2>&1\n{script}"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=300,
    )
    *outputs, last = done.stdout.split(f"{MARK}\n")
    for block, output in zip(found, outputs, strict=False):
        fits = block.expected is None or re.fullmatch(pattern(block.expected), output)
        assert fits, f"{block.script}\n{output}"
    assert done.returncode == 0, f"{found[len(outputs)].script}\n{last}"


def test_the_guide_shows_what_most_of_its_lines_print() -> None:
    found = blocks(GUIDE.read_text())
    assert len(found) > 10
    assert sum(block.expected is not None for block in found) > len(found) / 2
