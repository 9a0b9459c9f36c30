"""What stands behind each keyword, and how it is read."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from berm.templates import flags
from berm.templates.findings import nearest, shown
from berm.templates.heredocs import Marker
from berm.templates.lines import Span
from berm.templates.reading import (
    Source,
    blank_words,
    check_bodies,
    check_items,
    check_words,
    first_word,
    json_form,
    quoted_words,
    texts,
)
from berm.templates.syntax import Instruction

_STAGE = re.compile(r"[a-z][a-z0-9_.-]*", re.IGNORECASE)
_BLANKS = re.compile(r"\s+")
_NO_BLANKS: Final = 'what has blanks in it needs the JSON form, as in ["a b", "c"]'


def read(source: Source, span: Span) -> Instruction:
    """An instruction; of no use if there is something to complain about."""
    first, rest = first_word(span)
    name = first.text.upper()
    place = source.line.position(first.at)
    blank = Instruction(name, place.line, place.column, source.end, span.strip().text)
    rule = RULES.get(name)
    if rule is None:
        _unknown(source, first)
        return blank
    taken, rest = flags.take(rest, name, source.error)
    if not rest.text:
        source.error(first.at + len(first.text), f"{name} has no arguments", f"write {rule.usage}")
        return blank
    return rule.read(source, replace(blank, flags=taken, text=rest.text), rest)


def _unknown(source: Source, first: Span) -> None:
    words_only = first.text.isalpha()
    hint = nearest(first.text, RULES) if words_only else f"to continue a line, end it in {source.escape}"
    source.error(first.at, f"there is no instruction {shown(first.text)}", hint)


# Forms


def _command(source: Source, instruction: Instruction, rest: Span) -> Instruction:
    """RUN, CMD, ENTRYPOINT: a program with its arguments, or a text for the shell."""
    items = json_form(source, instruction.keyword, rest)
    if items == () and instruction.keyword == "RUN":
        source.error(rest.at, "RUN has no program to run", f"write {RULES['RUN'].usage}")
    return replace(
        instruction,
        exec_form=items,
        words=(rest.text,) if items is None else items,
        heredocs=tuple(body.heredoc for body in source.bodies),
    )


def _shell(source: Source, instruction: Instruction, rest: Span) -> Instruction:
    items = json_form(source, "SHELL", rest)
    if not items:
        source.error(rest.at, "SHELL takes nothing but a JSON array", f"write {RULES['SHELL'].usage}")
    return replace(instruction, exec_form=items, words=items or ())


def _whole(source: Source, instruction: Instruction, rest: Span) -> Instruction:
    """USER, WORKDIR, STOPSIGNAL: one word, blanks and all."""
    check_words(source, [rest])
    return _one(source, instruction, rest)


def _one(_source: Source, instruction: Instruction, rest: Span) -> Instruction:
    """MAINTAINER: whatever it is."""
    return replace(instruction, words=(rest.text,))


def _expose(source: Source, instruction: Instruction, rest: Span) -> Instruction:
    found = blank_words(rest)
    check_words(source, found, _NO_BLANKS)
    return replace(instruction, words=texts(found))


def _volume(source: Source, instruction: Instruction, rest: Span) -> Instruction:
    items = json_form(source, "VOLUME", rest)
    if items is None:
        return _expose(source, instruction, rest)
    check_items(source, items, rest.at)
    if not items or not all(items):
        source.error(rest.at, "VOLUME has a path that is empty, or none", f"write {RULES['VOLUME'].usage}")
    return replace(instruction, exec_form=items, words=items)


def _from(source: Source, instruction: Instruction, rest: Span) -> Instruction:
    image, *others = blank_words(rest)
    check_words(source, [image])
    if others and (len(others) != 2 or others[0].text.upper() != "AS"):
        source.error(others[0].at, "FROM takes an image, and a name after AS", f"write {RULES['FROM'].usage}")
    elif others and not _STAGE.fullmatch(others[1].text):
        hint = "it begins with a letter, and has letters, digits, '-', '_' and '.'"
        source.error(others[1].at, f"{shown(others[1].text)} cannot be the name of a stage", hint)
    return replace(instruction, words=texts([image, *others]))


def _copy(source: Source, instruction: Instruction, rest: Span) -> Instruction:
    """COPY and ADD."""
    items = json_form(source, instruction.keyword, rest)
    if items is not None:
        check_items(source, items, rest.at)
        _check_target(source, instruction.keyword, [Span(item, rest.at) for item in items], rest)
        return replace(instruction, exec_form=items, words=items)
    found = list(_copied(source, rest))
    check_words(source, (word for word, marker in found if marker is None), _NO_BLANKS)
    check_bodies(source)
    words = [word for word, _ in found]
    _check_target(source, instruction.keyword, words, rest)
    heredocs = tuple(body.heredoc for body in source.bodies)
    return replace(instruction, words=texts(words), heredocs=heredocs)


def _copied(source: Source, rest: Span) -> Iterator[tuple[Span, Marker | None]]:
    """The words, and what each is a marker of."""
    at = 0
    for marker in (body.marker for body in source.bodies if body.marker.span.at >= rest.at):
        begin = marker.span.at - rest.at
        yield from ((word, None) for word in blank_words(rest.cut(at, begin)))
        yield Span(marker.word, marker.span.at), marker
        at = begin + len(marker.span.text)
    yield from ((word, None) for word in blank_words(rest.cut(at)))


def _check_target(source: Source, keyword: str, found: list[Span], rest: Span) -> None:
    if len(found) < 2:
        end = rest.at + len(rest.text)
        source.error(end, f"{keyword} needs a source and a target", f"write {RULES[keyword].usage}")
    elif any(found[-1].at == body.marker.span.at for body in source.bodies):
        source.error(found[-1].at, f"the target of {keyword} is a heredoc", "write a path at the end")


def _pairs(source: Source, instruction: Instruction, rest: Span) -> Instruction:
    """ENV and LABEL: `name=value ...`, or `name value`."""
    found = quoted_words(rest, source.escape)
    if found and "=" not in found[0].text:
        return _old_pair(source, instruction, rest)
    return replace(instruction, words=texts(found), pairs=tuple(_pair(source, word) for word in found))


def _old_pair(source: Source, instruction: Instruction, rest: Span) -> Instruction:
    keyword = instruction.keyword
    blanks = _BLANKS.search(rest.text)
    if not blanks:
        check_words(source, [rest])
        source.error(rest.at, f"{keyword} {shown(rest.text)} has no value", f"write {RULES[keyword].usage}")
        return instruction
    name, value = rest.cut(0, blanks.start()), rest.cut(blanks.end())
    check_words(source, [name, value])
    source.warn(rest.at, f"{keyword} name value is an old form", f"write {RULES[keyword].usage}")
    return replace(instruction, words=(name.text, value.text), pairs=((name.text, value.text),))


def _pair(source: Source, word: Span) -> tuple[str, str | None]:
    name, equals, value = word.text.partition("=")
    if not equals:
        source.error(
            word.at, f"{shown(name)} has no value", "write name=value, and quote a value with blanks"
        )
    elif not name:
        source.error(
            word.at, f"there is no name before {shown(word.text)}", "write name=value without blanks"
        )
    else:
        check_words(source, [Span(name, word.at), word.cut(len(name) + 1)])
    return name, value


def _arguments(source: Source, instruction: Instruction, rest: Span) -> Instruction:
    found = quoted_words(rest, source.escape)
    check_words(source, (word for word in found if "=" not in word.text))
    pairs = tuple(_pair(source, word) if "=" in word.text else (word.text, None) for word in found)
    return replace(instruction, words=texts(found), pairs=pairs)


def _healthcheck(source: Source, instruction: Instruction, rest: Span) -> Instruction:
    first, tail = first_word(rest)
    kind = first.text.upper()
    if kind == "CMD":
        return replace(instruction, words=(kind,), nested=read(source, rest))
    usage = f"write {RULES['HEALTHCHECK'].usage}"
    if kind != "NONE":
        source.error(first.at, f"HEALTHCHECK takes CMD or NONE, not {shown(first.text)}", usage)
    elif tail.text or instruction.flags:
        source.error(tail.at if tail.text else rest.at, "HEALTHCHECK NONE takes nothing else", usage)
    return replace(instruction, words=(kind,))


def _onbuild(source: Source, instruction: Instruction, rest: Span) -> Instruction:
    wrapped = first_word(rest)[0].text.upper()
    if wrapped in NO_TRIGGERS:
        source.error(rest.at, f"ONBUILD cannot wrap {wrapped}", "leave ONBUILD or the instruction out")
        return instruction
    return replace(instruction, nested=read(source, rest))


@dataclass(frozen=True, slots=True)
class Rule:
    """How an instruction is read, once there is something behind its flags."""

    read: Callable[[Source, Instruction, Span], Instruction]
    usage: str


NO_TRIGGERS: Final[Collection[str]] = ("FROM", "MAINTAINER", "ONBUILD")
"""Those that ONBUILD cannot wrap."""

RULES: Final[Mapping[str, Rule]] = {
    "ADD": Rule(_copy, "ADD source... target"),
    "ARG": Rule(_arguments, "ARG name[=value]..."),
    "CMD": Rule(_command, 'CMD ["program", "argument"], or CMD [] for none'),
    "COPY": Rule(_copy, "COPY source... target"),
    "ENTRYPOINT": Rule(_command, 'ENTRYPOINT ["program", "argument"], or ENTRYPOINT [] for none'),
    "ENV": Rule(_pairs, "ENV name=value..."),
    "EXPOSE": Rule(_expose, "EXPOSE port[/protocol]..."),
    "FROM": Rule(_from, "FROM image [AS name]"),
    "HEALTHCHECK": Rule(_healthcheck, "HEALTHCHECK [--interval=30s] CMD command, or HEALTHCHECK NONE"),
    "LABEL": Rule(_pairs, "LABEL name=value..."),
    "MAINTAINER": Rule(_one, "LABEL maintainer=..."),
    "ONBUILD": Rule(_onbuild, "ONBUILD and another instruction"),
    "RUN": Rule(_command, "RUN and a command"),
    "SHELL": Rule(_shell, 'SHELL ["/bin/bash", "-c"]'),
    "STOPSIGNAL": Rule(_whole, "STOPSIGNAL SIGTERM"),
    "USER": Rule(_whole, "USER name[:group]"),
    "VOLUME": Rule(_volume, 'VOLUME ["/path"]'),
    "WORKDIR": Rule(_whole, "WORKDIR /path"),
}
