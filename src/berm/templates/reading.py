"""What reading one instruction and another have in common: complaints with their place, words, JSON."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from berm.templates import words
from berm.templates.findings import Findings, shown
from berm.templates.heredocs import Body
from berm.templates.lines import Joined, Position, Span

_WORD = re.compile(r"\S+", re.ASCII)
_TEST = re.compile(r"\[\[?\s[^,]*\s\]\]?(?:[\s;]|\Z)")
"""A shell's test, as far as can be seen: no comma, and a blank inside each bracket."""


@dataclass(frozen=True, slots=True)
class Source:
    """The lines that an instruction stands on."""

    file: str
    line: Joined
    bodies: Sequence[Body]
    end: int
    """The number of its last line, with those of its heredocs."""
    escape: str
    findings: Findings

    def error(self, at: int, message: str, hint: str = "") -> None:
        self.findings.error(self.file, self.line.position(at), message, hint)

    def warn(self, at: int, message: str, hint: str = "") -> None:
        self.findings.warn(self.file, self.line.position(at), message, hint)


def first_word(span: Span) -> tuple[Span, Span]:
    """The first word, and what follows it."""
    span = span.strip()
    found = _WORD.match(span.text)
    end = found.end() if found else 0
    return span.cut(0, end), span.cut(end).strip()


def blank_words(span: Span) -> list[Span]:
    """Words divided at blanks, whatever is quoted."""
    return [span.cut(*found.span()) for found in _WORD.finditer(span.text)]


def quoted_words(span: Span, escape: str) -> list[Span]:
    """Words divided at blanks that are not quoted; a quote that is not closed goes on to the end."""
    sign = re.escape(escape)
    quotes = rf"\"(?:[^\"{sign}]|{sign}.)*+(?:\"|{sign}?\Z)|'[^']*+(?:'|\Z)"
    word = re.compile(rf"(?:[^\s\"'{sign}]|{sign}(?:.|\Z)|{quotes})++", re.DOTALL)
    return [span.cut(*found.span()) for found in word.finditer(span.text)]


def texts(spans: Iterable[Span]) -> tuple[str, ...]:
    return tuple(span.text for span in spans)


def check_words(source: Source, spans: Iterable[Span], hint: str = "") -> None:
    """Complains about what could not be expanded, whatever the variables are."""
    for span in spans:
        try:
            words.check(span.text, source.escape)
        except words.MalformedError as error:
            source.error(span.at + error.offset, str(error), hint or _unmeant(source))


def check_items(source: Source, items: Iterable[str], at: int) -> None:
    """The same for the items of a JSON form, whose own places are not known."""
    for item in items:
        try:
            words.check(item, source.escape)
        except words.MalformedError as error:
            source.error(at, f"{shown(item)}: {error}", _unmeant(source))


def check_bodies(source: Source) -> None:
    """The same for heredocs that are expanded."""
    for body in source.bodies:
        try:
            words.check(body.raw if body.marker.expand else "", source.escape, quotes=False)
        except words.MalformedError as error:
            before = body.raw[: error.offset]
            column = error.offset - before.rfind("\n")
            place = Position(body.line + before.count("\n"), column)
            source.findings.error(
                source.file, place, str(error), f"quote {shown(body.marker.name)} for a text as it is"
            )


def _unmeant(source: Source) -> str:
    return f"write {source.escape} before it if it has no meaning here"


def json_form(source: Source, keyword: str, span: Span) -> tuple[str, ...] | None:
    """The JSON form; None where what is written is not JSON, which is warned about if it looks so."""
    if not span.text.startswith("["):
        return None
    try:
        items = json.loads(span.text)
    except (ValueError, RecursionError):
        if not _TEST.match(span.text):
            hint = 'strings stand in double quotes, with commas between them: ["one", "two"]'
            source.warn(span.at, f"this is not JSON, so {keyword} takes it as it stands", hint)
        return None
    strings = tuple(_whole(item) for item in items if isinstance(item, str))
    if len(strings) != len(items):
        source.error(span.at, f"the JSON form of {keyword} has something else than strings", "quote it")
    if any("\0" in item for item in strings):
        source.error(span.at, "a string has a NUL character", "remove \\u0000")
    return strings


def _whole(text: str) -> str:
    """Halves of surrogate pairs, which JSON can have and UTF-8 cannot, become U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
