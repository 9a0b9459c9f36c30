"""What builds made, looked at: compared with each other, and given out as OCI images."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from berm.control.workshop import Workshop
from berm.errors import BermError, Code
from berm.images import diff, tree
from berm.images.diff import Difference
from berm.images.export import Part, export
from berm.store.builds import Build, Status
from berm.templates.base import config_of

_BASE = "the base of the template"


class Products:
    """Layers that are read are not collected meanwhile. `work` is a directory for what is being packed."""

    def __init__(self, workshop: Workshop, work: Path) -> None:
        self._workshop = workshop
        self._work = work

    async def start(self) -> None:
        """Remove what a killed server left half packed."""
        await tree.sweep(self._work)

    async def diff(self, old: Build, new: Build) -> Difference:
        """What is different in the files of two builds. Raises BermError CONFLICT if one is not ready."""
        with self._held(old, new):
            return await diff.compare(self._trees(old.layers), self._trees(new.layers))

    async def export(self, build: Build) -> AsyncIterator[bytes]:
        """An OCI archive of a build, in pieces. Raises BermError before the first: CONFLICT if not ready."""
        with self._held(build):
            parts = await self._parts(build)
            name = str(build.number)
            pieces = export(
                parts, config_of(build.settings), self._work, name=name, created=build.finished_at
            )
            async for piece in pieces:
                yield piece

    @contextmanager
    def _held(self, *builds: Build) -> Iterator[None]:
        with self._workshop.hold() as hold:
            for build in builds:
                _check_ready(build)
                hold.add(build.layers)
            yield

    def _trees(self, layers: Sequence[str]) -> list[Path]:
        return [self._workshop.node.layer_path(name) for name in layers]

    async def _parts(self, build: Build) -> list[Part]:
        """The layers, each with the step that made it as far as the cache still knows."""
        kept = await self._workshop.look([step.key for step in build.steps if step.key])
        texts = {kept[step.key].layer.name: step.text for step in build.steps if step.key in kept}
        path = self._workshop.node.layer_path
        return [Part(texts.get(name, _BASE), path(name)) for name in build.layers]


def _check_ready(build: Build) -> None:
    if build.status is not Status.READY:
        raise BermError(
            Code.CONFLICT,
            f"build {build.number} is not ready: its status is {build.status}",
            "choose one that is",
        )
