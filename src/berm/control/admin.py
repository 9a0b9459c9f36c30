"""What is open to who runs the server, for every team."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from berm import ids, private
from berm.control.builds import Builds
from berm.control.keys import Keys
from berm.control.sandboxes import Sandboxes
from berm.control.states import now
from berm.errors import BermError, Code
from berm.models import Credential, Principal
from berm.store import history
from berm.store import sandboxes as sandbox_store
from berm.store.database import Database

_SHORTEST: Final = 32
"""Characters of an admin token: a file that is empty or cut off must not let anybody in."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many of several things could be done."""

    done: int
    failed: int


class Admin:
    """The token is in a file made at the first start; to change it, remove the file and start again."""

    def __init__(self, database: Database, keys: Keys, sandboxes: Sandboxes, builds: Builds) -> None:
        self._database = database
        self._keys = keys
        self._sandboxes = sandboxes
        self._builds = builds
        self._token = ""

    async def start(self, token_file: Path) -> None:
        """Raises BermError INVALID_ARGUMENT if what is in the file is too short."""
        self._token = _read_or_make(token_file)

    def check(self, token: str) -> None:
        """Raises BermError UNAUTHENTICATED if that is not the admin token."""
        if not self._token or not ids.same_secret(token, self._token):
            raise BermError(
                Code.UNAUTHENTICATED,
                "the admin token is wrong",
                "it is in the file admin-token of the server's state directory",
            )

    async def act_for(self, token: str, team_id: str) -> Principal:
        """A team, as the admin acts for it. Raises what `check` raises, and BermError NOT_FOUND."""
        self.check(token)
        team = await self._keys.team(team_id)
        return Principal(team.team_id, "", Credential.ADMIN_TOKEN)

    async def running_counts(self) -> dict[str, int]:
        """How many sandboxes each team has running; teams without any are left out."""
        return await self._database.run(sandbox_store.running_counts, now())

    async def kill_sandboxes(self, team_id: str) -> Outcome:
        """End every sandbox of a team. Those that end meanwhile by themselves are not counted."""
        who = Principal((await self._keys.team(team_id)).team_id, "", Credential.ADMIN_TOKEN)
        done = failed = 0
        for sandbox_id in await self._database.run(sandbox_store.live, who.team_id, now()):
            try:
                await self._sandboxes.kill(who, sandbox_id)
                done += 1
            except BermError as error:
                failed += error.code is not Code.NOT_FOUND
        return Outcome(done, failed)

    async def cancel_builds(self, team_id: str) -> Outcome:
        """Break off every build of a team that has not ended."""
        who = Principal((await self._keys.team(team_id)).team_id, "", Credential.ADMIN_TOKEN)
        unfinished = await self._database.run(history.unfinished_of, who.team_id)
        for template_id, build_id in unfinished:
            with suppress(BermError):  # its template was deleted meanwhile; else it is still there below
                await self._builds.cancel(who, template_id, build_id)
        left = set(await self._database.run(history.unfinished_of, who.team_id))
        failed = len(left.intersection(unfinished))
        return Outcome(len(unfinished) - failed, failed)


def _read_or_make(path: Path) -> str:
    if not path.exists():
        private.write(path, ids.admin_token())
    token = path.read_text().strip()
    if len(token) < _SHORTEST:
        raise BermError(
            Code.INVALID_ARGUMENT,
            f"{path} holds no token of {_SHORTEST} characters or more",
            "remove it, and a new one is made at the next start",
        )
    return token
