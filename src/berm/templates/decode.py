"""Dataclasses from JSON, exactly: nothing is converted, unknown fields are errors, the first one ends it.

pydantic would list each mistake once for every kind of action that a step could have meant.
"""

import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from berm.errors import BermError, Code

T = TypeVar("T")

_LONGEST_ECHO = 100


def decode(kind: type[T], value: object, where: str) -> T:
    """A dataclass from what `json.loads` gave; `where` is what errors call it.

    Text holds no NUL and nothing that UTF-8 cannot. Raises BermError INVALID_ARGUMENT with the field.
    """
    return cast(T, _decode(kind, value, where))


def refusal(where: str, value: object, rule: str) -> BermError:
    """The error for a field that should be something else."""
    text = repr(value)
    shown = text if len(text) <= _LONGEST_ECHO else text[:_LONGEST_ECHO] + "..."
    return BermError(Code.INVALID_ARGUMENT, f"{where} is {shown}, which is not {rule}")


def _decode(kind: Any, value: object, where: str) -> object:
    origin = get_origin(kind)
    if origin in _GENERIC:
        return _GENERIC[origin](get_args(kind), value, where)
    return _object(kind, value, where) if is_dataclass(kind) else _plain(kind, value, where)


def _plain(kind: type, value: object, where: str) -> object:
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise refusal(where, value, _NAMES[kind])
    return _text(value, where) if isinstance(value, str) else value


def _text(value: str, where: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise refusal(where, value, "text that UTF-8 can hold") from None
    if "\0" in value:
        raise refusal(where, value, "text without NUL")
    return value


def _literal(values: tuple[object, ...], value: object, where: str) -> object:
    if value not in values:
        raise refusal(where, value, "one of " + ", ".join(map(repr, values)))
    return value


def _tuple(kinds: tuple[Any, ...], value: object, where: str) -> object:
    if not isinstance(value, list):
        raise refusal(where, value, "a list")
    return tuple(_decode(kinds[0], item, f"{where}.{number}") for number, item in enumerate(value))


def _mapping(kinds: tuple[Any, ...], value: object, where: str) -> object:
    items = _json_object(value, where).items()
    return {_text(key, where): _decode(kinds[1], item, f"{where}.{key}") for key, item in items}


def _union(kinds: tuple[Any, ...], value: object, where: str) -> object:
    if value is None and type(None) in kinds:
        return None
    choices = [kind for kind in kinds if kind is not type(None)]
    return _decode(choices[0] if len(choices) == 1 else _meant(choices, value, where), value, where)


def _meant(choices: list[Any], value: object, where: str) -> Any:
    """Which of several dataclasses the field `kind` names."""
    named = {_fields(choice)["kind"].default: choice for choice in choices}
    kind = _json_object(value, where).get("kind")
    return named[_literal(tuple(named), kind, f"{where}.kind")]


def _object(kind: Any, value: object, where: str) -> object:
    given, known, hints = _json_object(value, where), _fields(kind), _hints(kind)
    for name in given:
        if name not in known:
            raise BermError(
                Code.INVALID_ARGUMENT, f"{where}.{name[:_LONGEST_ECHO]} is not a field that is known"
            )
    for name, field in known.items():
        if name not in given and field.default is MISSING and field.default_factory is MISSING:
            raise BermError(Code.INVALID_ARGUMENT, f"{where}.{name} is missing")
    return kind(**{name: _decode(hints[name], item, f"{where}.{name}") for name, item in given.items()})


def _json_object(value: object, where: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise refusal(where, value, "an object")
    return value


@cache
def _fields(kind: Any) -> dict[str, Field[Any]]:
    return {field.name: field for field in fields(kind)}


_hints = cache(get_type_hints)

_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
_GENERIC: dict[object, Callable[[tuple[Any, ...], object, str], object]] = {
    Literal: _literal,
    tuple: _tuple,
    Mapping: _mapping,
    Union: _union,
    types.UnionType: _union,
}
