"""`--secret id=ID,src=FILE` and `--secret id=ID,env=NAME`: what a build may know and keeps nowhere."""

from collections.abc import Iterable
from pathlib import Path

from berm import config
from berm.errors import BermError, Code

_KEYS = {"id": "id", "src": "src", "source": "src", "env": "env"}
_HINT = "write --secret id=token,src=token.txt or --secret id=token,env=TOKEN"


def secrets(options: Iterable[str]) -> dict[str, bytes]:
    """Their contents by id. Raises BermError INVALID_ARGUMENT; the content is in no message."""
    return dict(map(_secret, options))


def _secret(option: str) -> tuple[str, bytes]:
    fields = _fields(option)
    name = fields.get("id")
    if not name or ("src" in fields and "env" in fields):
        raise BermError(
            Code.INVALID_ARGUMENT, f"--secret is {option!r}: it needs an id and one source", _HINT
        )
    if "src" in fields:
        return name, _content(Path(fields["src"]))
    variable = fields.get("env", name)
    value = config.variable(variable)
    if value is None:
        raise BermError(Code.INVALID_ARGUMENT, f"--secret {name}: the variable {variable} is not set", _HINT)
    return name, value.encode("utf-8", "surrogateescape")


def _fields(option: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in option.split(",")]
    wrong = [key for key, equals, value in pairs if key not in _KEYS or not (equals and value)]
    if wrong:
        raise BermError(
            Code.INVALID_ARGUMENT, f"--secret is {option!r}: {wrong[0]!r} is not understood", _HINT
        )
    return {_KEYS[key]: value for key, _, value in pairs}


def _content(path: Path) -> bytes:
    try:
        return path.expanduser().read_bytes()
    except OSError as error:
        raise BermError(Code.INVALID_ARGUMENT, f"--secret: {path} cannot be read: {error.strerror}") from None
