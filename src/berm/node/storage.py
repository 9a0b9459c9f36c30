"""The part of a node that keeps layers and files: it needs no launcher, only the pool's directory."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from berm.config import Config
from berm.errors import BermError, Code
from berm.images import process
from berm.images.archives import Limits
from berm.models import Layer
from berm.node import layers, uploads
from berm.node.copying import copy
from berm.node.interface import Copying
from berm.node.volumes import Volumes

_ROOM: Final = "delete templates or sandboxes, or let the operator set BERM_POOL_GB"


class Storage:
    """See `Node` in interface.py for what each method promises."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._pool = config.pool_dir
        self._limits = Limits(config.max_upload_mb << 20)
        self.volumes = Volumes(self._pool, config.volume_gb << 30)

    async def settle(self) -> None:
        await process.run(["sync", "--file-system", str(self._pool)])

    async def regain(self) -> None:
        """Wait until the room of what was removed is free: with btrfs that is some time after the removal."""
        await self.settle()
        with suppress(BermError):  # other file systems free it at once
            await process.run(["btrfs", "subvolume", "sync", str(self._pool)])

    async def new_layer(self, name: str) -> Path:
        return await asyncio.to_thread(layers.prepare, self._pool, name)

    def layer_path(self, name: str) -> Path:
        return layers.path(self._pool, name)

    def has_layer(self, name: str) -> bool:
        return self.layer_path(name).exists()

    async def drop_layers(self, names: Collection[str]) -> None:
        for name in names:
            await layers.drop(self._pool, name)

    def layers(self) -> Collection[str]:
        return layers.names(self._pool)

    async def copy(self, copying: Copying, output: Callable[[str], None]) -> Layer:
        async with self._regaining():
            return await copy(self._pool, copying, self._limits, output)

    async def receive(self, name: str, body: AsyncIterator[bytes]) -> None:
        async with self._regaining():
            await uploads.receive(self._pool, name, body, self._limits)

    @asynccontextmanager
    async def _regaining(self) -> AsyncIterator[None]:
        """Tell a full disk by its code, and get back what was removed, for the next try."""
        try:
            yield
        except OSError as error:
            if error.errno not in layers.FULL:
                raise
            await self.regain()
            raise BermError(Code.NO_SPACE, f"the storage of berm is full: {error.strerror}", _ROOM) from error
        except BermError as error:
            if error.code is Code.NO_SPACE:
                await self.regain()
            raise

    def has_files(self, name: str) -> bool:
        return uploads.has(self._pool, name)

    async def drop_files(self, names: Collection[str]) -> None:
        await uploads.drop(self._pool, names)

    def files(self) -> Mapping[str, float]:
        return uploads.last_uses(self._pool)
