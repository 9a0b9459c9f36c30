"""Base images: what a reference means, and its files as a layer, fetched once for each digest."""

import asyncio
import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from berm.control.tasks import Tasks
from berm.control.templates import Templates
from berm.control.workshop import Workshop
from berm.errors import BermError, Code
from berm.images import configblob, registry
from berm.images.config import ImageConfig
from berm.images.lines import Output
from berm.images.manifest import DIGEST
from berm.images.registry import Image, Login
from berm.models import Template
from berm.templates.base import BASE_TEMPLATE, ResolvedImage, is_own, settings_of
from berm.templates.plan import Base, Settings

_AT_ONCE = 8
"""Most questions to registries at the same time."""
_RESOLVE_SECONDS = 45.0
"""How long one reference may take with its wait for a turn: clients wait a minute for all of them."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What a stage is built on: layers, bottom first, and a base that says all that its cache key needs."""

    base: Base
    layers: tuple[str, ...]
    settings: Settings = field(default_factory=Settings)
    has_user: bool = False
    """Whether berm has added the account `user` to it already."""


@dataclass(frozen=True, slots=True)
class _Pull:
    """One that goes on, for all who wait for it: each has an Output."""

    task: asyncio.Task[None]
    waiting: list[Output]


class Images:
    """Registries are asked each time what a tag means, and never about a digest that is here already.

    What several builds wait for is pulled once, and until the last of them goes away.
    """

    def __init__(self, templates: Templates, workshop: Workshop) -> None:
        self._node = workshop.node
        self._templates = templates
        self._workshop = workshop
        self._tasks = Tasks()
        self._pulls: dict[tuple[str, Login | None], _Pull] = {}
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def close(self) -> None:
        """Break off what is being pulled; the next pull begins anew."""
        await self._tasks.cancel()

    async def resolve(
        self, team_id: str, references: Sequence[str], login: Login | None = None
    ) -> list[ResolvedImage | BermError]:
        """What each reference means now, or why that cannot be said."""
        return await asyncio.gather(*(self._try(team_id, reference, login) for reference in references))

    async def _try(self, team_id: str, reference: str, login: Login | None) -> ResolvedImage | BermError:
        try:
            async with asyncio.timeout(_RESOLVE_SECONDS), self._room:
                return await self.find(team_id, reference, login)
        except BermError as error:
            return error
        except TimeoutError:
            message = f"image {reference} could not be asked about within {_RESOLVE_SECONDS:g} s"
            return BermError(Code.UNAVAILABLE, message, "check its registry")

    async def find(self, team_id: str, reference: str, login: Login | None = None) -> ResolvedImage:
        """Raises BermError NOT_FOUND, INVALID_ARGUMENT, PERMISSION_DENIED or UNAVAILABLE."""
        if is_own(reference):
            own = await self._templates.resolve(team_id, BASE_TEMPLATE)
            # As an image it begins as root, like the one whose place it takes; as a template, as its user.
            return ResolvedImage(reference, own_digest(own), Settings(env=own.env))
        config = await self._kept(team_id, reference) or await registry.inspect(reference, login)
        return ResolvedImage(reference, config.digest, settings_of(config))

    async def _kept(self, team_id: str, reference: str) -> ImageConfig | None:
        """Of an image by its digest that the team has pulled before: its registry may be gone."""
        digest = reference.partition("@")[2]
        if not DIGEST.fullmatch(digest) or not await self._workshop.remembers(team_id, layer_name(digest)):
            return None
        content = await asyncio.to_thread(_content, _config_file(self._node.layer_path(layer_name(digest))))
        return configblob.parse(reference, digest, content) if content else None

    async def known(self, team_id: str, base: Base) -> Ground:
        """What a base is, without fetching anything.

        Raises BermError NOT_FOUND for a template that is not there, CONFLICT for a digest of the base
        template that is not its own.
        """
        if base.kind == "scratch":
            return Ground(base, ())
        if base.kind == "template":
            return _ground(await self._templates.resolve(team_id, base.name))
        if is_own(base.name):
            return await self._own(team_id, base)
        return Ground(Base("image", digest=base.digest), (layer_name(base.digest),))

    async def fetch(
        self, team_id: str, ground: Ground, base: Base, log: Output, login: Login | None = None
    ) -> None:
        """Make sure that the files of a base are on this machine. Raises what a pull raises.

        The registry is asked each team once for each digest: who may not pull an image may not use what
        another team has pulled.
        """
        if ground.base.kind != "image":
            return
        (name,) = ground.layers
        if not await self._workshop.remembers(team_id, name):
            await self._shared(registry.pinned(base.name, base.digest), log, login)
        await self._workshop.remember(team_id, name)

    async def _own(self, team_id: str, base: Base) -> Ground:
        own = await self._templates.resolve(team_id, BASE_TEMPLATE)
        if base.digest not in ("", own_digest(own)):
            raise BermError(
                Code.CONFLICT,
                f"{base.name} is {own_digest(own)} on this server, not {base.digest}",
                "accept it with --update-lock",
            )
        return _ground(own)

    async def _shared(self, reference: str, log: Output, login: Login | None) -> None:
        key = (reference, login)
        if key in self._pulls:
            log(f"{reference} is being pulled already")
        pull = self._pulls.get(key) or self._begin(reference, login)
        self._pulls[key] = pull
        pull.waiting.append(log)
        try:
            await asyncio.shield(pull.task)
        finally:
            pull.waiting.remove(log)
            if not pull.waiting:
                # Whoever asks from now on begins anew, when this one has cleaned up.
                del self._pulls[key]
                pull.task.cancel()
                await asyncio.gather(pull.task, return_exceptions=True)

    def _begin(self, reference: str, login: Login | None) -> _Pull:
        waiting: list[Output] = []

        def log(line: str) -> None:
            for output in waiting:
                output(line)

        return _Pull(self._tasks.begin(_pull(self._workshop, reference, log, login)), waiting)


async def _pull(workshop: Workshop, reference: str, log: Output, login: Login | None) -> None:
    await pull(workshop, await registry.look(reference, login), log, login)


async def pull(workshop: Workshop, image: Image, log: Output, login: Login | None = None) -> None:
    """Make the layer of an image if it is not there. Raises what `registry.fetch` raises; then nothing is."""
    name, node = layer_name(image.config.digest), workshop.node
    async with workshop.making(name):
        if node.has_layer(name):
            return
        target = await node.new_layer(name)
        try:
            await registry.fetch(image, target, target.parent, log, login)
            await asyncio.to_thread(_keep, _config_file(target), image.content)
        except BaseException:
            # What cannot be removed now, on a full disk, is removed at the next start.
            with suppress(OSError):
                await asyncio.shield(node.drop_layers([name]))
            raise


def _config_file(tree: Path) -> Path:
    """Beside an image's files."""
    return tree.with_name("config.json")


def _keep(file: Path, content: bytes) -> None:
    unfinished = file.with_suffix(".new")
    unfinished.write_bytes(content)
    unfinished.rename(file)


def _content(file: Path) -> bytes:
    return file.read_bytes() if file.exists() else b""


def layer_name(digest: str) -> str:
    """Of the one layer that an image becomes."""
    return f"img-{digest.removeprefix('sha256:')}"


def own_digest(template: Template) -> str:
    """Stands for the base template's digest: the same on every server that made it of the same things.

    That is the image it was made of, or the list of its packages; not the account that berm adds.
    """
    kind, _, value = template.layers[0].partition("-")
    if kind == "img":
        return f"sha256:{value}"
    return f"sha256:{hashlib.sha256(template.layers[0].encode()).hexdigest()}"


def settings_of_template(template: Template) -> Settings:
    """The configuration that a build on a template begins with."""
    return Settings(
        env=template.env,
        user=template.user,
        workdir=template.workdir,
        start_cmd=template.start_cmd,
        ready_cmd=template.ready_cmd,
    )


def _ground(template: Template) -> Ground:
    base = Base("template", template.name, template.build_id)
    return Ground(base, template.layers, settings_of_template(template), has_user=True)
