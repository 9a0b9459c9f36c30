"""Texts that stand below the instruction that names them: `<<EOF`.

As in BuildKit, a marker begins a word: `1<<2` in `$((1<<2))` and what is in quotes is none. In what a shell
runs, a word also ends at the shell's operators, and `#` begins a comment.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from berm.templates.lines import Lines, Span
from berm.templates.syntax import Heredoc

_QUOTED = r"""\\.|'[^']*'|"(?:[^"\\]|\\.)*+\""""
_NAMES: Final = {
    True: rf"(?:[^\s<>|&;()'\"\\]|{_QUOTED})++",
    False: rf"(?:[^\s<'\"\\]|{_QUOTED})++",
}
_MARKERS: Final = {
    shell: re.compile(rf"[0-9]*<<(-?)[ \t]*({name})(?!<)", re.DOTALL) for shell, name in _NAMES.items()
}
_WORD = re.compile(rf"(?:[^\s'\"\\(]|\((?!\()|{_QUOTED})++", re.DOTALL)
_UNQUOTED = re.compile(r"""\\(.)|'([^']*)'|"((?:[^"\\]|\\.)*+)\"""", re.DOTALL)
_PARENTHESIS = re.compile(r"[()]")


@dataclass(frozen=True, slots=True)
class Marker:
    """Where a heredoc is named."""

    span: Span
    name: str
    expand: bool
    strip: bool
    """Whether leading tabs of its lines do not count."""

    @property
    def word(self) -> str:
        """The marker without blanks after its `<<`."""
        return re.sub(r"(<<-?)[ \t]+", r"\1", self.span.text, count=1)


@dataclass(frozen=True, slots=True)
class Body:
    """A heredoc as it stands in the file."""

    marker: Marker
    raw: str
    line: int
    """Where the content begins."""

    @property
    def heredoc(self) -> Heredoc:
        content = re.sub(r"(?m)^\t+", "", self.raw) if self.marker.strip else self.raw
        return Heredoc(self.marker.name, content, self.marker.expand, self.marker.word)


def markers(span: Span, shell: bool) -> Iterator[Marker]:
    """The markers in what follows a keyword; none where quotes are not closed. `shell`: what RUN gives it."""
    at = 0
    while at < len(span.text):
        if span.text[at].isspace():
            at += 1
        elif shell and span.text[at] == "#":
            return
        elif marker := _marker(_MARKERS[shell].match(span.text, at), span):
            yield marker
            at += len(marker.span.text)
        else:
            at = _after_word(span.text, at)


def _marker(found: re.Match[str] | None, span: Span) -> Marker | None:
    name = _UNQUOTED.sub(_plain, found[2]) if found else ""
    if not found or not name:
        return None
    return Marker(span.cut(*found.span()), name, expand=name == found[2], strip=bool(found[1]))


def _plain(quoted: re.Match[str]) -> str:
    escaped, single, double = quoted.groups()
    return escaped or single or re.sub(r'\\(["$\\])', r"\1", double or "")


def _after_word(text: str, at: int) -> int:
    """Where the word ends that begins here; the end of the text if a quote is not closed."""
    while at < len(text) and not text[at].isspace():
        word = _WORD.match(text, at)
        if word:
            at = word.end()
        elif text.startswith("((", at):
            at = _after_parentheses(text, at)
        else:
            return len(text)
    return at


def _after_parentheses(text: str, at: int) -> int:
    """Behind the parenthesis that closes this one; the end if there is none."""
    depth = 0
    for found in _PARENTHESIS.finditer(text, at):
        depth += 1 if found[0] == "(" else -1
        if not depth:
            return found.end()
    return len(text)


def body(marker: Marker, lines: Lines) -> Body | None:
    """Reads up to the line that ends it. None if there is none: then all lines are read."""
    first = lines.number + 1
    content: list[str] = []
    while (line := lines.next()) is not None:
        if (line.lstrip("\t") if marker.strip else line) == marker.name:
            return Body(marker, "".join(content), first)
        content.append(f"{line}\n")
    return None
