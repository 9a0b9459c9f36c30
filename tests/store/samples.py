"""Values to store."""

from datetime import UTC, datetime, timedelta

from berm import ids
from berm.models import Resources, Sandbox, State
from berm.store import builds, tags, teams, templates
from berm.store.builds import Build, Made, Status, StepRecord
from berm.store.database import Database
from berm.store.templates import Record
from berm.templates.plan import Health, Settings

TEAM = "team-a"
OTHER_TEAM = "team-b"
NOON = datetime(2030, 1, 1, 12, 0, 0, 123456, UTC)
MINUTE = timedelta(minutes=1)
SETTINGS = Settings(
    env={"A": "b"},
    user="user",
    workdir="/work",
    cmd=("run",),
    labels={"of": "us"},
    health=Health(("true",), retries=1),
    start_cmd="serve",
    ready_cmd="curl",
)
STEPS = (
    StepRecord("1", "RUN true", 2, cached=True, duration_ms=7, size=3, key="k1"),
    StepRecord("2", "ENV A=b", 3),
    StepRecord("3", "RUN false", 4, duration_ms=9, size=4, key="k3"),
)
MADE = Made(("bottom", "top"), SETTINGS, STEPS, "sha256:of-inputs", 5_000_000_000)


def team_values(team_id: str = TEAM) -> dict[str, object]:
    return {"team_id": team_id, "name": team_id, "created_at": NOON}


async def add_teams(database: Database) -> None:
    for team_id in (TEAM, OTHER_TEAM):
        await database.run(teams.add_team, teams.Team(team_id, team_id, NOON))


def sandbox(
    team_id: str = TEAM,
    started_at: datetime = NOON,
    minutes: int = 5,
    *,
    template: str = "base",
    state: State = State.RUNNING,
    metadata: dict[str, str] | None = None,
    build_id: str = "",
    layers: tuple[str, ...] = (),
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
        build_id=build_id,
        layers=layers,
    )


async def add_template(
    database: Database, name: str = "base", team_id: str = TEAM, public: bool = False
) -> Record:
    record = Record(ids.template_id(), team_id, name, public, NOON, NOON)
    await database.run(templates.add, record)
    return record


async def add_build(database: Database, record: Record, minute: int = 0, tag: str = "default") -> Build:
    number = await database.run(templates.next_number, record.template_id)
    at = NOON + minute * MINUTE
    build = Build(
        ids.build_id(), record.template_id, Status.WAITING, (tag,), Resources(), at, at, number=number
    )
    await database.run(builds.add, build)
    return build


async def succeed(database: Database, build: Build, made: Made = MADE) -> Build:
    """At the build's own minute; its tags stand for it then."""
    ended = await database.run(builds.succeed, build.build_id, made, build.created_at)
    assert ended
    await database.run(tags.point, ended, build.tags, build.created_at, "us")
    return ended
