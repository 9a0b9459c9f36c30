"""Directory trees that are there whole or not at all."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from berm.images import process

PARTIAL: Final = ".partial-"
"""What the names of unfinished trees begin with."""


@asynccontextmanager
async def staged(target: Path) -> AsyncIterator[Path]:
    """A path for a new tree, which becomes `target` when the block ends well and is removed otherwise.

    It is on disk before it gets its name. A target that came to be meanwhile is kept.
    """
    async with scratch(target.parent) as directory:
        tree = directory / "tree"
        yield tree
        await process.run(["sync", "--file-system", str(tree)])
        _settle(tree, target)


@asynccontextmanager
async def scratch(parent: Path) -> AsyncIterator[Path]:
    """A new directory, removed with all that is in it when the block ends."""
    directory = _make_in(parent)
    try:
        yield directory
    finally:
        await asyncio.shield(remove(directory))


async def remove(path: Path) -> None:
    """Remove a tree that may be deep, hostile or not there; other filesystems in it are left alone."""
    await process.run(["rm", "-rf", "--one-file-system", "--", str(path)])


async def sweep(parent: Path) -> None:
    """Remove the unfinished trees that a killed process left; call it before anything is staged there."""
    for leftover in _leftovers(parent):
        await remove(leftover)


def _make_in(parent: Path) -> Path:
    parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=PARTIAL, dir=parent))


def _settle(tree: Path, target: Path) -> None:
    if not target.exists():
        tree.rename(target)


def _leftovers(parent: Path) -> list[Path]:
    return list(parent.glob(f"{PARTIAL}*"))
