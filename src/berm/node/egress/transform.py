"""Headers that rules set on requests to a host, with the secrets that they name put in."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from berm.errors import BermError
from berm.models import Egress
from berm.node.egress import dial, names

SECRET: Final = re.compile(r"\$\{e2b\.secrets\.([A-Za-z0-9_-]{1,128})\}")
IDENTITY: Final = re.compile(r"\$\{e2b\.identity\.tokens\.([^{}\x00-\x1f\x7f-\x9f]+)\}")
_LINE: Final = re.compile(r"[\r\n\0]")


def headers(rules: Mapping[str, Mapping[str, str]], name: str | None) -> dict[str, str]:
    """What all rules for a host set together; a later one wins."""
    found: dict[str, tuple[str, str]] = {}
    for pattern, wanted in rules.items():
        if name is not None and names.is_name(name) and names.matches(pattern, name):
            found |= {key.lower(): (key, value) for key, value in wanted.items()}
    return dict(found.values())


def secrets(rules: Mapping[str, Mapping[str, str]]) -> set[str]:
    """The secrets that rules name."""
    values = [value for wanted in rules.values() for value in wanted.values()]
    return {name for value in values for name in SECRET.findall(value)}


async def resolved(wanted: Mapping[str, str], egress: Egress) -> dict[str, str]:
    """The same with each secret and token in its place. Raises dial.RefusedError if one is not there."""
    named = {key: _identified(value, egress.identity) for key, value in wanted.items()}
    return {key: await _filled(value, egress.secret) for key, value in named.items()}


def _identified(value: str, identity: Callable[[str], str] | None) -> str:
    """With tokens in their places, in which nothing looks like the name of a secret."""
    if identity is None and IDENTITY.search(value):
        raise dial.RefusedError("a rule names an identity token, which is not there")
    return IDENTITY.sub(lambda found: identity(found[1]) if identity else "", value)


async def _filled(value: str, secret: Callable[[str], Awaitable[str]] | None) -> str:
    for name in set(SECRET.findall(value)):
        try:
            found = await secret(name) if secret else None
        except BermError:
            found = None
        if found is None or _LINE.search(found):
            raise dial.RefusedError(
                f"a rule names the secret {name}, which is not there or is no header's value"
            )
        value = value.replace(f"${{e2b.secrets.{name}}}", found)
    return value
