import pytest

from berm.control.control import Control
from berm.control.metering import Metering
from berm.control.templates import Templates
from berm.errors import BermError
from berm.models import Principal
from berm.observability import metrics
from berm.observability.metrics import OTHERS, Metrics
from berm.store.builds import Cause, StepRecord
from berm.store.database import Database
from tests.control.asking import wanted
from tests.control.making import NAME, begin, finish, make
from tests.fakes import FakeNode
from tests.observability.test_metrics import value
from tests.store.samples import OTHER_TEAM, TEAM, add_teams

STEPS = [StepRecord("1", "RUN a", key="a"), StepRecord("2", "RUN b", key="b", cached=True)]


@pytest.fixture
async def templates(database: Database) -> Templates:
    await add_teams(database)
    return Templates(database)


@pytest.fixture
def metering(database: Database, templates: Templates) -> Metering:
    return Metering(database, FakeNode(), Metrics())


async def test_builds_are_counted_for_good(metering: Metering, templates: Templates) -> None:
    await finish(templates, await begin(templates), STEPS)
    failed = await begin(templates)
    await templates.fail(failed.build_id, "broken", None, Cause.HEALTH_CHECK)
    await begin(templates)
    text = await metering.render(TEAM)
    ready = {"template": NAME, "status": "ready", "cause": ""}
    assert value(text, "berm_builds_total", **ready) == 1
    assert value(text, "berm_builds_total", template=NAME, status="error", cause="health_check") == 1
    assert value(text, "berm_build_steps_total", template=NAME, cached="true") == 1
    assert value(text, "berm_build_steps_total", template=NAME, cached="false") == 1
    assert value(text, "berm_builds_unfinished", status="building") == 1
    assert value(text, "berm_builds_unfinished", status="waiting") == 0
    assert value(text, "berm_template_build_number", template=NAME) == 1
    await templates.delete(TEAM, NAME)
    text = await metering.render(TEAM)
    assert value(text, "berm_builds_total", **ready) == 1
    assert value(text, "berm_template_build_number", template=NAME) is None
    await make(templates)
    assert value(await metering.render(TEAM), "berm_builds_total", **ready) == 2


async def test_a_team_does_not_learn_what_others_call_theirs(
    metering: Metering, templates: Templates
) -> None:
    await make(templates)
    text = await metering.render(OTHER_TEAM)
    assert NAME.encode() not in text
    assert value(text, "berm_builds_total", template=OTHERS, status="ready", cause="") == 1


async def test_templates_beyond_the_most_are_counted_together(
    metering: Metering, templates: Templates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("berm.control.metering.MOST_TEMPLATES", 1)
    for name in ("one", "two", "three", "two"):
        await make(templates, name=name)
    text = await metering.render(TEAM)
    assert value(text, "berm_builds_total", template="one", status="ready", cause="") == 1
    assert value(text, "berm_builds_total", template=OTHERS, status="ready", cause="") == 3
    assert value(text, "berm_template_build_number", template="two") is None
    assert metrics.MOST_TEMPLATES == 100


async def test_sandboxes_are_counted_and_timed(control: Control, who: Principal) -> None:
    sandbox = await control.sandboxes.create(who, wanted())
    with pytest.raises(BermError):
        await control.sandboxes.create(who, wanted("none"))
    text = await control.metering.render(who.team_id)
    assert value(text, "berm_sandboxes_running") == 1
    assert value(text, "berm_sandbox_creations_total", result="ok") == 1
    assert value(text, "berm_sandbox_creations_total", result="not_found") == 1
    assert value(text, "berm_sandbox_creation_seconds_count") == 1
    assert value(text, "berm_build_seconds_count", status="ready") == 1
    await control.sandboxes.pause(who, sandbox.sandbox_id)
    text = await control.metering.render(who.team_id)
    assert value(text, "berm_sandboxes_running") == 0
    assert value(text, "berm_sandboxes_paused") == 1
    await control.sandboxes.kill(who, sandbox.sandbox_id)
    assert value(await control.metering.render(who.team_id), "berm_sandboxes_paused") == 0
