"""Values to store."""

from datetime import UTC, datetime, timedelta

from berm import ids
from berm.models import Resources, Sandbox, State
from berm.store import keys
from berm.store.database import Database

TEAM = "team-a"
OTHER_TEAM = "team-b"
NOON = datetime(2030, 1, 1, 12, 0, 0, 123456, UTC)
MINUTE = timedelta(minutes=1)


def team_values(team_id: str = TEAM) -> dict[str, object]:
    return {"team_id": team_id, "name": team_id, "created_at": NOON}


async def add_teams(database: Database) -> None:
    for team_id in (TEAM, OTHER_TEAM):
        await database.run(keys.add_team, keys.Team(team_id, team_id, NOON))


def sandbox(
    team_id: str = TEAM,
    started_at: datetime = NOON,
    minutes: int = 5,
    *,
    template: str = "base",
    state: State = State.RUNNING,
    metadata: dict[str, str] | None = None,
) -> Sandbox:
    return Sandbox(
        sandbox_id=ids.sandbox_id(),
        template_id=f"id-of-{template}",
        template_name=template,
        team_id=team_id,
        state=state,
        started_at=started_at,
        end_at=started_at + minutes * MINUTE,
        resources=Resources(1, 512, 2048, 100),
        metadata=metadata or {},
        access_token="secret",
        allow_internet=None,
    )
