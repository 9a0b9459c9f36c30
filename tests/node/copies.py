"""A pool made by hand, and copies onto its layers, for tests of what a copy makes."""

import asyncio
import stat
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from berm.images.archives import Limits
from berm.images.lookup import Entry
from berm.images.merged import View
from berm.images.process import ignore
from berm.models import Layer
from berm.node import copying, layers, uploads
from berm.node.interface import Copying
from berm.templates.plan import Base, Copy, Directory, Inline

HASH = "0" * 64
FILES = f"team-{HASH}"

LIMITS = Limits()

Make = Callable[[Path], object]
"""Puts files into a directory that it is given."""


def nothing(_root: Path) -> None: ...


@dataclass
class Pool:
    path: Path
    chain: list[str] = field(default_factory=list)
    """Layers that copies go onto."""

    def __post_init__(self) -> None:
        for name in ("layers", "files"):
            (self.path / name).mkdir(parents=True)

    def layer(self, make: Make, name: str = "") -> str:
        """A new layer; without a name it is put onto the chain."""
        root = layers.path(self.path, name or f"layer-{len(self.chain)}")
        root.mkdir(parents=True)
        make(root)
        if not name:
            self.chain.append(root.parent.name)
        return root.parent.name

    def files(self, make: Make) -> None:
        """What was received as FILES."""
        root = uploads.path(self.path, FILES)
        root.mkdir()
        make(root)

    def copy(self, *sources: str, to: str, owner: str = "", mode: int | None = None) -> Layer:
        """Copy received files."""
        return self.run(Copy(sources, to, files_hash=HASH, owner=owner, mode=mode))

    def copy_layers(self, *sources: str, to: str, layers: tuple[str, ...], owner: str = "") -> Layer:
        return self.run(Copy(sources, to, base=Base("stage", "0"), owner=owner), layers)

    def copy_some(self, make: Make, action: Copy, from_layer: bool) -> Layer:
        """Copy what `make` makes, from a layer of another chain or as received files."""
        if from_layer:
            source = self.layer(make, "source")
            return self.run(replace(action, base=Base("stage", "0")), (source,))
        self.files(make)
        return self.run(replace(action, files_hash=HASH))

    def copy_inline(self, *files: Inline, to: str) -> Layer:
        return self.run(Copy((), to, inline=files))

    def unpack(self, *sources: str, to: str, owner: str = "") -> Layer:
        return self.run(Copy(sources, to, files_hash=HASH, owner=owner, unpack=True))

    def directory(self, path: str, owner: str = "") -> Layer:
        return self.run(Directory(path, owner))

    def run(self, action: Copy | Directory, source: tuple[str, ...] = (), limits: Limits = LIMITS) -> Layer:
        work = Copying(action, tuple(self.chain), source, FILES)
        layer = asyncio.run(copying.copy(self.path, work, limits, ignore))
        if layer.name:
            self.chain.append(layer.name)
        return layer

    def tree(self) -> dict[str, str]:
        """All files and links of the chain, and directories that are empty, with content or target."""
        with self.view() as view:
            entries = list(view.walk(view.root()))
            parents = {entry.path.rpartition("/")[0] for entry in entries}
            return {entry.path: _content(view, entry) for entry in entries if entry.path not in parents}

    def look(self, path: str) -> tuple[int, int, int]:
        """Permissions, user and group of something in the chain."""
        with self.view() as view:
            status = view.find(path, follow=False).status
            return stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid

    def view(self) -> View:
        return View([layers.path(self.path, name) for name in self.chain])

    def top(self) -> Path:
        return layers.path(self.path, self.chain[-1])

    def left_over(self) -> list[str]:
        """What is in the pool beside layers and received files."""
        found = [entry.name for name in ("layers", "files") for entry in (self.path / name).iterdir()]
        return [name for name in found if name.startswith(".")]


def _content(view: View, entry: Entry) -> str:
    if entry.is_link:
        return f"-> {view.readlink(entry)}"
    return view.read(entry, 1000).decode() if entry.is_file else "/"
