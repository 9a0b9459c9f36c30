"""COPY, ADD and WORKDIR on the host: a layer out of files, with Docker's rules, and nothing of it is run.

What is copied and what it is copied onto are hostile trees, so both are only seen through views.
"""

import stat
import time
import uuid
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from berm.errors import BermError, Code
from berm.images import accounts, archives, tree
from berm.images.archives import Limits
from berm.images.draft import Draft, Look, Origin, copy_content
from berm.images.lines import Output
from berm.images.lookup import Entry
from berm.images.merged import Place, View, join
from berm.images.threads import Check, in_thread
from berm.models import Layer
from berm.node import layers, uploads
from berm.node.interface import Copying
from berm.node.sources import Source, look_up
from berm.templates import globs, modes
from berm.templates.plan import Copy, Directory, Inline

_DIRECTORY_MODE: Final = 0o755
_FILE_MODE: Final = 0o644


async def copy(pool: Path, copying: Copying, limits: Limits, output: Output) -> Layer:
    """Node.copy; `limits` are for what ADD unpacks."""
    async with AsyncExitStack() as stack:
        below = await _chain(pool, copying.layers, stack)
        if isinstance(copying.action, Directory):
            draft = await in_thread(partial(_make_directory, below, copying.action))
        else:
            sources = await _sources(pool, copying, copying.action, limits, stack)
            draft = await in_thread(partial(_copy, below, copying.action, sources))
        if not draft.changes:
            return Layer("", 0)
        return await _write(pool, draft, copying.layers[-1] if copying.layers else "", output)


async def _write(pool: Path, draft: Draft, above: str, output: Output) -> Layer:
    name = f"layer-{uuid.uuid4().hex}"
    async with layers.staged(pool, name, above) as root:
        await in_thread(partial(draft.write, root))
    output(f"{draft.count} files, {draft.size} bytes")
    return Layer(name, draft.size)


async def _sources(
    pool: Path, copying: Copying, action: Copy, limits: Limits, stack: AsyncExitStack
) -> list[Source]:
    """What is copied. Views and what was unpacked live as long as the stack."""
    view = await _origin(pool, copying, action, stack)
    found = await in_thread(partial(look_up, view, action))
    if not action.unpack:
        return found
    return [await _unpacked(pool, source, limits, stack) for source in found]


async def _origin(pool: Path, copying: Copying, action: Copy, stack: AsyncExitStack) -> View:
    if action.inline:
        return await _plain(_written(_temporary(pool, stack), action.inline), stack)
    if action.base:
        return await _chain(pool, copying.source, stack)
    if not uploads.has(pool, copying.files):
        raise BermError(Code.NOT_FOUND, f"no files were received as {copying.files}", "upload them again")
    uploads.use(pool, copying.files)
    return await _plain(uploads.path(pool, copying.files), stack)


async def _chain(pool: Path, names: Sequence[str], stack: AsyncExitStack) -> View:
    """A view of layers; of none it is an empty directory."""
    paths = [layers.path(pool, name) for name in names]
    if not paths:
        return await _plain(_temporary(pool, stack), stack)
    return stack.enter_context(await in_thread(lambda _: View(paths)))


async def _plain(directory: Path, stack: AsyncExitStack) -> View:
    return stack.enter_context(await in_thread(lambda _: View([directory], plain=True)))


def _temporary(pool: Path, stack: AsyncExitStack) -> Path:
    """A directory for a few files of our own."""
    parent = uploads.directory(pool)
    parent.mkdir(exist_ok=True)
    directory = Path(stack.enter_context(TemporaryDirectory(prefix=tree.PARTIAL, dir=parent)))
    directory.chmod(_DIRECTORY_MODE)
    return directory


def _written(directory: Path, files: Sequence[Inline]) -> Path:
    for file in files:
        if file.name in ("", ".", "..") or "/" in file.name or "\0" in file.name:
            raise BermError(Code.INVALID_ARGUMENT, f"{file.name!r} is no file's name")
        path = directory / file.name
        path.write_bytes(file.content.encode("utf-8", "surrogateescape"))
        path.chmod(_FILE_MODE)
    return directory


async def _unpacked(pool: Path, source: Source, limits: Limits, stack: AsyncExitStack) -> Source:
    """The content of an archive in place of it; anything else stays as it is."""
    if not source.entry.is_file:
        return source
    work = await stack.enter_async_context(tree.scratch(uploads.directory(pool)))
    archive, content = work / "archive", work / "content"
    await in_thread(partial(_extract, source, archive))
    if not await archives.is_archive(archive):
        return source
    content.mkdir(mode=_DIRECTORY_MODE)
    await archives.unpack(archive, content, limits, owners=True)
    view = await _plain(content, stack)
    return Source(source.name, view, view.root(), unpacked=True)


def _extract(source: Source, target: Path, check: Check) -> None:
    """Take a file out of a view, for programs that know only paths."""
    with open(source.view.open(source.entry), "rb") as content, target.open("xb") as file:
        copy_content(content.fileno(), file.fileno(), source.entry.status.st_size, check)


def _make_directory(below: View, action: Directory, _check: Check) -> Draft:
    draft = Draft(below)
    draft.stand(below.locate(action.path), _new(*accounts.owner(below, action.owner)))
    return draft


def _copy(below: View, action: Copy, sources: Sequence[Source], _check: Check) -> Draft:
    return _Copy(below, action, _check).carry_out(sources)


class _Copy:
    """One COPY onto a view, worked out as a draft."""

    def __init__(self, below: View, action: Copy, check: Check) -> None:
        self._draft = Draft(below)
        self._action = action
        self._ids = accounts.owner(below, action.owner)
        self._place = below.locate(action.target)
        self._check = check

    def carry_out(self, sources: Sequence[Source]) -> Draft:
        for source in sources:
            if self._action.parents:
                self._with_parents(source)
            elif source.entry.is_directory:
                self._stand()
                self._content(source, self._place.path)
            else:
                self._file(source)
        return self._draft

    def _with_parents(self, source: Source) -> None:
        self._stand()
        path = self._place.path
        for name, entry in source.above:
            path = self._kept(join(path, name), source.view, entry)
        path = join(path, source.name)
        if not source.entry.is_directory:
            self._draft.leaf(path, Origin(source.view, source.entry, self._look(source.entry)))
            return
        self._content(source, self._kept(path, source.view, source.entry) if source.name else path)

    def _kept(self, path: str, view: View, entry: Entry) -> str:
        """Have a directory like that of the source."""
        if not self._draft.has_directory(path):
            look = self._look(entry)
            self._draft.directory(path, look, Origin(view, entry, look))
        return path

    def _content(self, source: Source, path: str) -> None:
        """What is in a directory goes into another."""
        look = self._look_as_it_is if source.unpacked else self._look
        self._draft.tree(path, source.view, source.entry, look, self._check, left_out=source.left_out)

    def _file(self, source: Source) -> None:
        entry = self._place.entry
        if self._is_into() or (entry and entry.is_directory):
            self._stand()
            path = join(self._place.path, source.name)
        else:
            self._draft.stand(_above(self._place), _new())
            path = self._place.path
        self._draft.leaf(path, Origin(source.view, source.entry, self._look(source.entry)))

    def _is_into(self) -> bool:
        """Whether the target is a directory by how the action is written."""
        several = len(self._action.sources) > 1 or any(map(globs.is_glob, self._action.sources))
        return several or self._action.target.rpartition("/")[2] in ("", ".", "..")

    def _stand(self) -> None:
        """Have the target as a directory. If it is new it belongs to the owner; those above it to root."""
        self._draft.stand(self._place if self._place.entry else _above(self._place), _new())
        if self._place.missing and not self._draft.has_directory(self._place.path):
            self._draft.directory(self._place.path, _new(*self._ids))

    def _look(self, entry: Entry) -> Look:
        """What an image or a stage has keeps its owners; what was uploaded had none."""
        if self._action.base:
            return self._look_as_it_is(entry)
        return Look.of(entry.status, self._ids, self._mode(entry))

    def _look_as_it_is(self, entry: Entry) -> Look:
        """Owners are kept, unless one is chosen or no sandbox has such ids."""
        if self._action.owner or max(entry.status.st_uid, entry.status.st_gid) >= accounts.IDS:
            return Look.of(entry.status, self._ids, self._mode(entry))
        return Look.of(entry.status, mode=self._mode(entry))

    def _mode(self, entry: Entry) -> int:
        mode = self._action.mode
        if mode is None:
            mode = stat.S_IMODE(entry.status.st_mode)
        return modes.changed(mode, self._action.chmod, entry.is_directory) if self._action.chmod else mode


def _above(place: Place) -> Place:
    """The directory that a place is in."""
    if place.missing:
        return Place(place.trail, place.missing[:-1])
    return Place(place.trail[:-1])


def _new(uid: int = 0, gid: int = 0) -> Look:
    now = time.time_ns()
    return Look(_DIRECTORY_MODE, uid, gid, (now, now))
