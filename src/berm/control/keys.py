"""Teams, API keys and access tokens: who is asking."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from berm import ids, private
from berm.control.states import now
from berm.control.tasks import Tasks
from berm.errors import BermError, Code
from berm.models import ApiKey, Credential, Principal
from berm.store import keys as store
from berm.store import teams as team_store
from berm.store.database import Database
from berm.store.teams import Team

_MINTS: Final = {Credential.API_KEY: ids.api_key, Credential.ACCESS_TOKEN: ids.user_token}

REMEMBERED = 4096
"""Most keys that are known without asking the database."""

USE_NOTED_EVERY = timedelta(minutes=1)
"""How exactly the last use of a key is recorded."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key with its secret, which is shown once and kept nowhere."""

    key: ApiKey
    secret: str


@dataclass(slots=True)
class _Known:
    principal: Principal
    noted: datetime


class Keys:
    """Verified keys are remembered, so that a request does not cost a query."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tasks = Tasks()
        self._known: dict[str, _Known] = {}
        self._revoked = 0

    async def start(self, key_file: Path) -> None:
        """Make sure there is a team, and that `key_file` holds a key if no other is known."""
        await self._database.run(_prepare, key_file)

    async def close(self) -> None:
        await self._tasks.drain()

    async def authenticate(self, secret: str) -> Principal:
        """Whose API key or access token it is. Raises BermError UNAUTHENTICATED if it is nobody's."""
        digest = ids.digest(secret)
        known = self._known.get(digest) or await self._look_up(digest)
        if now() - known.noted >= USE_NOTED_EVERY:
            self._note_use(known)
        return known.principal

    async def team(self, team_id: str) -> Team:
        found = await self._database.run(team_store.find_team, team_id)
        if found is None:
            raise BermError(Code.NOT_FOUND, f"team {team_id!r} not found")
        return found

    async def first_team(self) -> Team:
        """The team that was made with the database; templates that come with the server are its own."""
        found = await self._database.run(team_store.first_team)
        if found is None:
            raise BermError(Code.INTERNAL, "the database holds no team")
        return found

    async def create(self, team_id: str, name: str, kind: Credential = Credential.API_KEY) -> NewKey:
        made = mint(team_id, name, kind)
        await self._database.run(store.add, made.key, ids.digest(made.secret))
        return made

    async def list(self, team_id: str) -> list[ApiKey]:
        """A team's API keys, oldest first."""
        await self._tasks.drain()
        return await self._database.run(store.listing, team_id)

    async def rename(self, team_id: str, key_id: str, name: str) -> ApiKey:
        """Raises BermError NOT_FOUND."""
        key = await self._database.run(store.rename, team_id, key_id, name)
        if key is None:
            raise _no_key(key_id)
        return key

    async def revoke(self, team_id: str, key_id: str, kind: Credential = Credential.API_KEY) -> None:
        """From its return on the key is refused. Raises BermError NOT_FOUND."""
        removed = await self._database.run(store.remove, team_id, key_id, kind)
        self._forget(key_id)
        if not removed:
            raise _no_key(key_id, kind)

    async def _look_up(self, digest: str) -> _Known:
        revoked = self._revoked
        principal = await self._database.run(store.principal, digest)
        if principal is None:
            raise BermError(Code.UNAUTHENTICATED, "the API key is not known", "`berm env` prints one that is")
        known = _Known(principal, noted=now() - USE_NOTED_EVERY)
        # A key that was revoked while we asked must not be remembered.
        if revoked == self._revoked:
            self._remember(digest, known)
        return known

    def _remember(self, digest: str, known: _Known) -> None:
        self._known[digest] = known
        if len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]

    def _forget(self, key_id: str) -> None:
        self._revoked += 1
        for digest in [d for d, known in self._known.items() if known.principal.key_id == key_id]:
            del self._known[digest]

    def _note_use(self, known: _Known) -> None:
        known.noted = now()
        self._tasks.spawn(self._database.run(store.used, known.principal.key_id, known.noted))


def _prepare(connection: Connection, key_file: Path) -> None:
    team = team_store.first_team(connection) or _add_first_team(connection)
    if not key_file.exists() or not store.any_key(connection):
        made = mint(team.team_id, "first key")
        store.add(connection, made.key, ids.digest(made.secret))
        private.write(key_file, made.secret)


def _add_first_team(connection: Connection) -> Team:
    team = Team(str(uuid.uuid4()), "default", now())
    team_store.add_team(connection, team)
    return team


def mint(team_id: str, name: str, kind: Credential = Credential.API_KEY) -> NewKey:
    """A new key that is not stored yet."""
    secret = _MINTS[kind]()
    key = ApiKey(
        key_id=str(uuid.uuid4()),
        team_id=team_id,
        name=name,
        prefix=secret[: secret.index("e2b_") + 6],
        suffix=secret[-4:],
        length=len(secret),
        created_at=now(),
        kind=kind,
    )
    return NewKey(key, secret)


def _no_key(key_id: str, kind: Credential = Credential.API_KEY) -> BermError:
    if kind is Credential.ACCESS_TOKEN:
        return BermError(Code.NOT_FOUND, f"access token {key_id!r} not found")
    return BermError(Code.NOT_FOUND, f"API key {key_id!r} not found", "GET /api-keys lists the ids")
