"""The expressions of GitHub Actions, as far as our workflows use them.

https://docs.github.com/actions/reference/evaluate-expressions-in-workflows-and-actions
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

Contexts = Mapping[str, Any]

_HOLE = re.compile(r"\$\{\{(.*?)\}\}")
_TOKEN = re.compile(r"\s*(==|!=|&&|\|\||!|\(|\)|'(?:''|[^'])*'|[A-Za-z_][\w.-]*)")
_WORDS = {"true": True, "false": False, "null": None}


def fill(text: str, contexts: Contexts) -> str:
    """A string with what its holes stand for."""
    return _HOLE.sub(lambda hole: _text(evaluate(hole[1], contexts)), text)


def condition(text: str, contexts: Contexts) -> bool:
    """What `if:` says; it needs no `${{ }}`."""
    whole = _HOLE.fullmatch(text.strip())
    return bool(evaluate(whole[1] if whole else text, contexts))


def evaluate(text: str, contexts: Contexts) -> Any:
    """Raises ValueError for what this subset does not know."""
    parser = _Parser(list(_tokens(text)), contexts)
    value = parser.either()
    if parser.tokens:
        raise ValueError(f"{text!r}: {parser.tokens[0]!r} is too much")
    return value


def _tokens(text: str) -> Iterator[str]:
    at = 0
    while text[at:].strip():
        found = _TOKEN.match(text, at)
        if not found:
            raise ValueError(f"{text!r} is not understood at {at}")
        yield found[1]
        at = found.end()


def _text(value: object) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


class _Parser:
    """Each method takes what it understands from the tokens. Both sides are evaluated."""

    def __init__(self, tokens: list[str], contexts: Contexts) -> None:
        self.tokens = tokens
        self._contexts = contexts

    def _taken(self, *wanted: str) -> str:
        return self.tokens.pop(0) if self.tokens and self.tokens[0] in wanted else ""

    def either(self) -> Any:
        value = self._both()
        while self._taken("||"):
            other = self._both()
            value = value or other
        return value

    def _both(self) -> Any:
        value = self._comparison()
        while self._taken("&&"):
            other = self._comparison()
            value = value and other
        return value

    def _comparison(self) -> Any:
        value = self._single()
        sign = self._taken("==", "!=")
        return (_text(value).lower() == _text(self._single()).lower()) is (sign == "==") if sign else value

    def _single(self) -> Any:
        if self._taken("!"):
            return not self._single()
        if self._taken("("):
            value = self.either()
            if not self._taken(")"):
                raise ValueError("a ) is missing")
            return value
        token = self.tokens.pop(0)
        return token[1:-1].replace("''", "'") if token[0] == "'" else self._named(token)

    def _named(self, path: str) -> Any:
        if path in _WORDS:
            return _WORDS[path]
        first, *rest = path.split(".")
        if first not in self._contexts:
            raise ValueError(f"there is no context {first!r}")
        value = self._contexts[first]
        for name in rest:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value
