"""Secrets of teams: named values that are taken and used, and never given back to a client."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from berm import ids
from berm.control import sealing
from berm.control.sealing import Seal, WrongKeyError
from berm.control.states import now
from berm.errors import BermError, Code
from berm.store import paging
from berm.store import secrets as store
from berm.store.database import Database
from berm.store.secrets import Sealed, Secret

MAX_VALUE: Final = 64 * 1024
MAX_ENTRIES: Final = 32
MAX_METADATA: Final = 8192
MAX_METADATA_KEY: Final = 128
MAX_METADATA_VALUE: Final = 1024
"""Bytes in UTF-8, but for the number of entries."""

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_ID_PREFIX: Final = "sec_"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Content:
    """What a version holds; `metadata` of None leaves what there is."""

    value: str = field(repr=False)
    metadata: Mapping[str, str] | None = None


class Secrets:
    """Values are sealed with a key that is kept in a file, and bound to their team, secret and version."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seal: Seal | None = None

    async def start(self, key_file: Path) -> None:
        """Read the key, which is made if nothing is sealed yet.

        With a wrong key, or without one, the server runs, but no value is sealed or opened: the log says why.
        """
        try:
            self._seal = await self._database.run(_open_key, key_file)
        except WrongKeyError as error:
            log.error("secrets cannot be used: %s", error)

    async def create(self, team_id: str, name: str, content: Content) -> Secret:
        """The first version. Names are lower-cased.

        Raises BermError INVALID_ARGUMENT, CONFLICT for a name that is taken, INTERNAL without the right key.
        """
        _check(content)
        moment = now()
        metadata = dict(content.metadata or {})
        secret = Secret(ids.secret_id(), team_id, _canonical(name), 1, metadata, moment, moment)
        sealed = _sealed(self._key(), secret, content.value)
        if not await self._database.run(store.add, secret, sealed):
            raise BermError(
                Code.CONFLICT,
                f"there is a secret {secret.name!r} already",
                "update it, or choose another name",
            )
        return secret

    async def list(self, team_id: str, page: paging.Slice) -> paging.Page[Secret]:
        return await self._database.run(store.listing, team_id, page)

    async def get(self, team_id: str, reference: str) -> Secret:
        """By id or name. Raises BermError NOT_FOUND."""
        secret, _ = await self._database.run(_find, team_id, reference)
        return secret

    async def update(self, team_id: str, reference: str, content: Content) -> Secret:
        """Put a new version in the place of the old, whose value is gone then.

        Raises what `create` and `get` raise.
        """
        _check(content)
        return await self._database.run(_update, self._key(), team_id, reference, content)

    async def delete(self, team_id: str, reference: str) -> None:
        """Raises BermError NOT_FOUND."""
        if not await self._database.run(store.remove, team_id, reference.lower()):
            raise _no_secret()

    async def value(self, team_id: str, name: str) -> str:
        """What the server itself is to use. Raises BermError NOT_FOUND, INTERNAL without the right key."""
        secret, sealed = await self._database.run(_find, team_id, name)
        return self._key().open(sealed.value, *_place(secret))

    def _key(self) -> Seal:
        if self._seal is None:
            raise BermError(
                Code.INTERNAL,
                "the server does not have the key of its secrets",
                "its log says what is missing; put that back and restart it",
            )
        return self._seal


def _open_key(connection: Connection, path: Path) -> Seal:
    """Raises WrongKeyError if there is no key, or another than the one that was used."""
    used = store.seals(connection)
    if not used and not path.exists():
        return sealing.make(path)
    seal = sealing.read(path)
    if used - {seal.name}:
        raise WrongKeyError(f"{path} is not the key of what is stored")
    return seal


def _find(connection: Connection, team_id: str, reference: str) -> tuple[Secret, Sealed]:
    found = store.find(connection, team_id, reference.lower())
    if found is None:
        raise _no_secret()
    return found


def _update(connection: Connection, seal: Seal, team_id: str, reference: str, content: Content) -> Secret:
    old, _ = _find(connection, team_id, reference)
    metadata = old.metadata if content.metadata is None else dict(content.metadata)
    secret = replace(old, version=old.version + 1, metadata=metadata, updated_at=now())
    store.replace(connection, secret, _sealed(seal, secret, content.value))
    return secret


def _sealed(seal: Seal, secret: Secret, value: str) -> Sealed:
    return Sealed(seal.close(value, *_place(secret)), seal.name)


def _place(secret: Secret) -> tuple[str, str, str]:
    return secret.team_id, secret.secret_id, str(secret.version)


def _canonical(name: str) -> str:
    """Not echoed when it is wrong: who mixes up name and value must not find the value in a log."""
    if not _NAME.fullmatch(name):
        raise BermError(
            Code.INVALID_ARGUMENT, "the name of a secret is 1 to 128 letters, digits, hyphens and underscores"
        )
    lower = name.lower()
    if lower.startswith(_ID_PREFIX):
        raise BermError(Code.INVALID_ARGUMENT, f"{_ID_PREFIX} begins ids, and no name", "choose another name")
    return lower


def _check(content: Content) -> None:
    metadata = content.metadata or {}
    for what, size, most in (
        ("value has", _size(content.value), MAX_VALUE),
        ("a key of metadata has", max(map(_size, metadata), default=0), MAX_METADATA_KEY),
        ("a value of metadata has", max(map(_size, metadata.values()), default=0), MAX_METADATA_VALUE),
        ("metadata has", sum(map(_size, (*metadata, *metadata.values()))), MAX_METADATA),
    ):
        if size > most:
            raise BermError(Code.INVALID_ARGUMENT, f"{what} {size} bytes, and {most} is the most")
    if len(metadata) > MAX_ENTRIES:
        raise BermError(
            Code.INVALID_ARGUMENT, f"metadata has {len(metadata)} entries, and {MAX_ENTRIES} is the most"
        )


def _size(text: str) -> int:
    return len(text.encode())


def _no_secret() -> BermError:
    return BermError(Code.NOT_FOUND, "the secret was not found", "GET /secrets lists those there are")
