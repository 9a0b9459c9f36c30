"""Builds for the tests of what is recorded of them."""

from collections.abc import Sequence

from berm.control.templates import Templates
from berm.store.builds import Build, StepRecord
from berm.templates.plan import Settings
from tests.store.samples import TEAM

NAME = "app"
BOTH = ("default", "latest")


async def begin(templates: Templates, *tags: str, name: str = NAME, commit: str = "") -> Build:
    build = await templates.begin(TEAM, name, tags or BOTH, commit=commit, actor="someone")
    await templates.start(build.build_id)
    return build


async def finish(templates: Templates, build: Build, steps: Sequence[StepRecord] = ()) -> Build:
    """Its one layer is called after its number."""
    layer = f"layer-{build.number}"
    await templates.finish(build, [layer], Settings(user="user"), steps=steps, digest="d", size=3)
    return await templates.build(TEAM, build.template_id, build.build_id)


async def make(templates: Templates, *tags: str, name: str = NAME) -> Build:
    """A build that is ready."""
    return await finish(templates, await begin(templates, *tags, name=name))


async def tagged(templates: Templates, name: str = NAME) -> dict[str, int]:
    """The number of the build that each tag stands for."""
    return {tag.tag: tag.number for tag in await templates.tags(TEAM, name)}
