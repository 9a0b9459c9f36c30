"""Teams, as who runs the server sees them: all of them, and what each may have."""

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from berm import ids
from berm.control.keys import NewKey, mint
from berm.control.limits import Limiter
from berm.control.states import now
from berm.errors import BermError, Code
from berm.models import Limits
from berm.store import keys as key_store
from berm.store import sandboxes as sandbox_store
from berm.store import teams as store
from berm.store.database import Database
from berm.store.teams import Team


@dataclass(frozen=True, slots=True)
class Standing:
    """A team, the limits that hold for it, and how many sandboxes it has running."""

    team: Team
    in_force: Limits
    running: int = 0


class Teams:
    """A team is meant by its id or its name."""

    def __init__(self, database: Database, limiter: Limiter) -> None:
        self._database = database
        self._limiter = limiter
        self._changing = asyncio.Lock()

    async def start(self) -> None:
        """Let the limiter know of all teams, and of what they have running."""
        teams = await self._database.run(store.listing)
        sandboxes = await self._database.run(sandbox_store.teams, now())
        self._limiter.start({team.team_id: team.limits for team in teams}, sandboxes)

    async def create(self, name: str, limits: Limits) -> tuple[Standing, NewKey]:
        """A team with its first API key. Raises BermError CONFLICT for a name that is taken."""
        team = Team(str(uuid.uuid4()), name, now(), limits)
        key = mint(team.team_id, "first key")
        await self._database.run(_create, team, key)
        self._limiter.set(team.team_id, limits)
        return self._standing(team), key

    async def list(self) -> list[Standing]:
        """All teams, oldest first."""
        teams = await self._database.run(store.listing)
        running = await self._database.run(sandbox_store.running_counts, now())
        return [self._standing(team, running.get(team.team_id, 0)) for team in teams]

    async def change_limits(self, reference: str, change: Callable[[Limits], Limits]) -> Standing:
        """What is changed holds for what is asked for from now on; what runs goes on.

        Raises BermError NOT_FOUND, CONFLICT for a name that several teams have.
        """
        async with self._changing:
            team = await self._database.run(_change_limits, reference, change)
            self._limiter.set(team.team_id, team.limits)
        return self._standing(team)

    def _standing(self, team: Team, running: int = 0) -> Standing:
        return Standing(team, self._limiter.in_force(team.team_id), running)


def _create(connection: Connection, team: Team, key: NewKey) -> None:
    if store.named(connection, team.name):
        raise BermError(Code.CONFLICT, f"there is a team {team.name!r} already", "choose another name")
    store.add_team(connection, team)
    key_store.add(connection, key.key, ids.digest(key.secret))


def _change_limits(connection: Connection, reference: str, change: Callable[[Limits], Limits]) -> Team:
    team = _only(store.named(connection, reference), reference)
    changed = replace(team, limits=change(team.limits))
    store.set_limits(connection, team.team_id, changed.limits)
    return changed


def _only(found: list[Team], reference: str) -> Team:
    if not found:
        raise BermError(Code.NOT_FOUND, f"team {reference!r} not found", "`berm team list` lists them")
    if len(found) > 1:
        raise BermError(Code.CONFLICT, f"{len(found)} teams are called {reference!r}", "say which by its id")
    return found[0]
