"""e2b.lock: what each FROM meant when it was last looked up. It is kept in the repository."""

import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from berm.errors import BermError, Code
from berm.templates import textfile
from berm.templates.problems import DefinitionError, Problem
from berm.templates.tomlfile import Document, parse

FILE_NAME: Final = "e2b.lock"
VERSION: Final = 1

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HINT: Final = "delete the file and run `berm template build --update-lock`"
_TOP: Final = """\
# What the images of FROM meant when they were last looked up: builds start from these digests.
# `berm template build --update-lock` writes this file; keep it in the repository.
"""


@dataclass(frozen=True, slots=True)
class Pin:
    """What an image's reference meant, and when that was found out (UTC)."""

    digest: str
    resolved_at: datetime


@dataclass(frozen=True, slots=True, order=True)
class Drift:
    """A reference that means something else than is written down.

    An empty `locked` is not in the lock, an empty `resolved` is not in use any more.
    """

    reference: str
    locked: str
    resolved: str

    def __str__(self) -> str:
        if not self.locked:
            return f"{self.reference} is not in the lock; it is {self.resolved}"
        if not self.resolved:
            return f"{self.reference} is in the lock, but nothing uses it"
        return f"{self.reference} was {self.locked} and is now {self.resolved}"


@dataclass(frozen=True, slots=True)
class Lock:
    """References, as they stand in FROM after variables are filled in, and what they are pinned to."""

    images: Mapping[str, Pin] = field(default_factory=dict)

    def updated(self, resolved: Mapping[str, str], now: datetime) -> "Lock":
        """The lock of exactly these references; a pin that did not change keeps its time."""
        pins = {reference: Pin(digest, now) for reference, digest in resolved.items()}
        same = {name: pin for name, pin in self.images.items() if resolved.get(name) == pin.digest}
        return Lock(pins | same)

    def write(self, path: Path) -> None:
        """Put the lock at `path`, whole or not at all; equal locks make equal files. Raises BermError."""
        try:
            _replace(path, self.text().encode())
        except OSError as error:
            message = f"{path} cannot be written: {error.strerror}"
            raise BermError(Code.INVALID_ARGUMENT, message) from None

    def text(self) -> str:
        """What stands in the file."""
        parts = [f"{_TOP}version = {VERSION}\n"]
        for reference, pin in sorted(self.images.items()):
            moment = pin.resolved_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            parts.append(f'[images.{_quoted(reference)}]\ndigest = "{pin.digest}"\nresolved_at = {moment}\n')
        return "\n".join(parts)


def read(path: Path) -> Lock:
    """The lock at `path`; an empty one if there is none.

    Raises DefinitionError with the places of all that is wrong with it, BermError if it cannot be read.
    """
    if not os.path.lexists(path):
        return Lock()
    document = parse(textfile.read(path), str(path))
    if isinstance(document, Problem):
        raise DefinitionError([document])
    return _read(document)


def drift(lock: Lock, resolved: Mapping[str, str]) -> tuple[Drift, ...]:
    """Where the lock and what references mean now (reference -> digest) differ, by reference."""
    locked = {reference: pin.digest for reference, pin in lock.images.items()}
    every = sorted(locked.keys() | resolved.keys())
    found = (Drift(name, locked.get(name, ""), resolved.get(name, "")) for name in every)
    return tuple(one for one in found if one.locked != one.resolved)


def _read(document: Document) -> Lock:
    if problems := tuple(_problems(document)):
        raise DefinitionError(problems)
    images = document.data.get("images", {})
    return Lock({name: Pin(pin["digest"], pin["resolved_at"]) for name, pin in images.items()})


def _problems(document: Document) -> Iterator[Problem]:
    if document.data.get("version") != VERSION:
        message = f"version is {document.data.get('version')}: this berm reads {VERSION}"
        yield document.problem(("version",), message, _HINT)
    for key in document.data.keys() - {"version", "images"}:
        yield document.problem((key,), f"there is no key {key}", _HINT)
    images = document.data.get("images", {})
    if not isinstance(images, dict):
        yield document.problem(("images",), "images must be a table", _HINT)
        return
    for reference, pin in images.items():
        yield from _pin_problems(document, reference, pin)


def _pin_problems(document: Document, reference: str, pin: Any) -> Iterator[Problem]:
    path = ("images", reference)
    if not isinstance(pin, dict) or pin.keys() != {"digest", "resolved_at"}:
        yield document.problem(path, f"{reference} must have digest and resolved_at, and nothing else", _HINT)
        return
    if not isinstance(pin["digest"], str) or not _DIGEST.fullmatch(pin["digest"]):
        hint = "write sha256: and 64 hex digits"
        yield document.problem((*path, "digest"), f"digest is {pin['digest']!r}: it is none", hint)
    if not isinstance(pin["resolved_at"], datetime) or pin["resolved_at"].tzinfo is None:
        hint = "write it as 2025-01-31T12:00:00Z"
        yield document.problem(
            (*path, "resolved_at"), f"resolved_at is {pin['resolved_at']}: it is no time", hint
        )


def _quoted(text: str) -> str:
    # What JSON escapes, TOML escapes in the same way; only DEL has to be escaped in TOML too.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _replace(path: Path, data: bytes) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
