"""The `base` template: made once, of an image or of Debian packages, when there is none."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from berm.config import Config
from berm.control import buildlog
from berm.control.images import layer_name, pull
from berm.control.provision import add_account
from berm.control.steps import Ask, Stand, carry_out
from berm.control.templates import Templates
from berm.control.workshop import Hold, Workshop
from berm.errors import BermError, Code
from berm.images import debian, registry, tree
from berm.images.config import ImageConfig
from berm.images.lines import Output
from berm.models import Resources
from berm.node.interface import Node
from berm.store.builds import Build
from berm.templates.base import BASE_TEMPLATE
from berm.templates.plan import Run, Settings

_NO_IMAGE: Final = (Code.UNAVAILABLE, Code.NOT_OFFERED)
"""Failures of a registry or of its tools, not of the image: Debian packages can take its place."""


async def begin_base(node: Node, templates: Templates, team_id: str) -> Build | None:
    """Register a build of the public `base` template unless one is ready; it can then be followed."""
    if await _is_ready(node, templates, team_id):
        return None
    build = await templates.begin(team_id, BASE_TEMPLATE, public=True)
    await templates.start(build.build_id)
    return build


async def make_base(
    workshop: Workshop, templates: Templates, team_id: str, build: Build, config: Config
) -> None:
    """Make what was begun; the build's log tells how it goes.

    What made it fail is recorded in the build, then raised; the next attempt begins anew, with the first
    layer if that was finished.
    """
    try:
        with workshop.hold() as hold:
            layers, image = await _made(_Making(workshop, hold, config, team_id), templates, build)
            settings = Settings(env=image.env, user="user")
            await templates.finish(build, layers, settings)
    except Exception as error:
        await templates.fail(build.build_id, str(error), "base")
        raise


@dataclass(frozen=True, slots=True)
class _Making:
    workshop: Workshop
    hold: Hold
    config: Config
    team_id: str

    @property
    def node(self) -> Node:
        return self.workshop.node


async def _made(making: _Making, templates: Templates, build: Build) -> tuple[list[str], ImageConfig]:
    async with buildlog.writing(partial(templates.append, build.build_id)) as lines:
        log: Callable[[str], None] = lines.put
        first, image = await _first_layer(making, log)
        await making.workshop.remember(making.team_id, first)
        log("Adding the user")
        ask = Ask(making.team_id, Resources())
        account = Run(add_account(), network=False)
        async with making.workshop.making(BASE_TEMPLATE):
            second = await carry_out(making.node, account, Stand((first,), {}), ask, log)
            making.hold.add([second.name])
        await making.node.settle()
    return [name for name in (first, second.name) if name], image


async def _is_ready(node: Node, templates: Templates, team_id: str) -> bool:
    try:
        template = await templates.resolve(team_id, BASE_TEMPLATE)
    except BermError:
        return False
    return all(map(node.has_layer, template.layers))


async def _first_layer(making: _Making, log: Output) -> tuple[str, ImageConfig]:
    reference = making.config.base_image
    try:
        image = await registry.look(reference)
        name = layer_name(image.config.digest)
        making.hold.add([name])
        await pull(making.workshop, image, log)
    except BermError as error:
        if error.code not in _NO_IMAGE:
            raise
        log(f"{reference} cannot be pulled, so Debian packages are used: {error.message}")
        return await _bootstrapped(making, log), debian.CONFIG
    return name, image.config


async def _bootstrapped(making: _Making, log: Output) -> str:
    name = debian.layer_name()
    making.hold.add([name])
    if not making.node.has_layer(name):
        target = await making.node.new_layer(name)
        await tree.sweep(target.parent)
        await debian.bootstrap(target, making.config.debian_mirror, log)
    return name
