"""A control over a real database and a node in memory."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from berm.config import Config
from berm.control.control import Control
from berm.models import Principal
from berm.store.database import Database
from tests.fakes import FakeNode
from tests.serving import make_template

Start = Callable[[FakeNode], Awaitable[Control]]


@pytest.fixture
async def start(config: Config) -> AsyncIterator[Start]:
    """Start a control over a node, as often as wanted; the state is the same each time."""
    started: list[Control] = []

    async def begin(node: FakeNode) -> Control:
        control = Control.over(Database(config.database), node, config)
        await control.start()
        started.append(control)
        return control

    yield begin
    for control in started:
        await control.close()


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


@pytest.fixture
async def control(start: Start, node: FakeNode) -> Control:
    """With a template `base` that is ready."""
    control = await start(node)
    await make_template(control, (await control.keys.first_team()).team_id, "base")
    return control


@pytest.fixture
async def who(control: Control) -> Principal:
    return Principal((await control.keys.first_team()).team_id, "key")
