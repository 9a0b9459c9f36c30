"""An OCI image out of any chain of layers, as an archive that other engines take: a tar of an image layout.

The OCI image specification: image-layout.md, manifest.md, config.md and layer.md.
"""

import hashlib
import json
import platform
import tarfile
import zlib
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final

from berm.images import layertar
from berm.images.config import Healthcheck, ImageConfig
from berm.images.lines import Output
from berm.images.process import ignore
from berm.images.threads import Check, in_thread
from berm.images.tree import scratch

LARGEST: Final = 256 << 30
"""Bytes in the files of an image, holes included."""

_MEDIA: Final = "application/vnd.oci.image."
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
_CHUNK: Final = 256 * 1024
_LEVEL: Final = 1
_GZIP: Final = 31
"""zlib's `wbits` for the gzip format; its header has no time, so equal layers have equal digests."""


@dataclass(frozen=True, slots=True)
class Part:
    """A step of an image's history, with the layer that it made, if it made one."""

    text: str
    layer: Path | None = None


async def export(
    parts: Sequence[Part],
    config: ImageConfig,
    work: Path,
    *,
    name: str = "latest",
    created: datetime | None = None,
    notes: Output = ignore,
) -> AsyncGenerator[bytes, None]:
    """The archive, in pieces; it is made in `work`, on disk, before the first of them comes.

    `name` is the tag in the archive. What is left out is told by `notes`, from another thread. Raises, before
    the first piece, BermError TOO_LARGE or NO_SPACE.
    """
    async with scratch(work) as directory:
        image = _Image(directory, config, name, created or datetime.now(UTC), notes)
        await in_thread(partial(image.write, parts))
        pieces = _archive(directory)
        while (piece := await in_thread(lambda _: next(pieces, None))) is not None:
            yield piece


class _Image:
    """An image layout being written."""

    def __init__(
        self, directory: Path, config: ImageConfig, name: str, created: datetime, notes: Output
    ) -> None:
        self._blobs = directory / "blobs/sha256"
        self._directory = directory
        self._config = config
        self._name = name
        self._created = created.isoformat()
        self._notes = notes

    def write(self, parts: Sequence[Part], check: Check) -> None:
        self._blobs.mkdir(parents=True)
        layers = self._layers([part.layer for part in parts if part.layer], check)
        config = self._blob(self._described(parts, [diff_id for _, diff_id in layers]), "config.v1+json")
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{_MEDIA}manifest.v1+json",
            "config": config,
            "layers": [descriptor for descriptor, _ in layers],
        }
        named = {"annotations": {"org.opencontainers.image.ref.name": self._name}}
        index = {"schemaVersion": 2, "manifests": [self._blob(manifest, "manifest.v1+json") | named]}
        (self._directory / "index.json").write_text(json.dumps(index))
        (self._directory / "oci-layout").write_text(json.dumps({"imageLayoutVersion": "1.0.0"}))

    def _layers(self, paths: Sequence[Path], check: Check) -> list[tuple[dict[str, Any], str]]:
        """Descriptors with the digests of what was compressed."""
        found: list[tuple[dict[str, Any], str]] = []
        left = LARGEST
        for path in paths:
            with (self._directory / "layer").open("wb") as file:
                packed = _Packed(file)
                left -= layertar.write(path, packed.put, left, self._notes, check, bottom=not found)
                packed.close()
            (self._directory / "layer").rename(self._blobs / packed.digest)
            found.append((_descriptor(packed.digest, packed.size, "layer.v1.tar+gzip"), packed.diff_id))
        return found

    def _described(self, parts: Sequence[Part], diff_ids: Sequence[str]) -> dict[str, Any]:
        """The image configuration."""
        return {
            "created": self._created,
            "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": settings(self._config),
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}" for diff_id in diff_ids]},
            "history": [
                {"created": self._created, "created_by": part.text}
                | ({} if part.layer else {"empty_layer": True})
                for part in parts
            ],
        }

    def _blob(self, value: Mapping[str, Any], kind: str) -> dict[str, Any]:
        content = json.dumps(value).encode()
        digest = hashlib.sha256(content).hexdigest()
        (self._blobs / digest).write_bytes(content)
        return _descriptor(digest, len(content), kind)


def settings(config: ImageConfig) -> dict[str, Any]:
    """The `config` of an image configuration, with Docker's additions; what is empty is left out."""
    found = {
        "Env": [f"{name}={value}" for name, value in config.env.items()],
        "User": config.user,
        "WorkingDir": config.workdir,
        "Cmd": list(config.cmd),
        "Entrypoint": list(config.entrypoint),
        "Shell": list(config.shell),
        "Labels": dict(config.labels),
        "ExposedPorts": {port: {} for port in config.ports},
        "Volumes": {volume: {} for volume in config.volumes},
        "StopSignal": config.stop_signal,
        "OnBuild": list(config.onbuild),
        "Healthcheck": _health(config.health) if config.health else {},
    }
    return {name: value for name, value in found.items() if value}


def _health(check: Healthcheck) -> dict[str, Any]:
    found = {
        "Test": list(check.test),
        "Interval": check.interval,
        "Timeout": check.timeout,
        "StartPeriod": check.start_period,
        "StartInterval": check.start_interval,
        "Retries": check.retries,
    }
    return {name: value for name, value in found.items() if value}


def _descriptor(digest: str, size: int, kind: str) -> dict[str, Any]:
    return {"mediaType": _MEDIA + kind, "digest": f"sha256:{digest}", "size": size}


class _Packed:
    """Compresses what is written to it into a file, with the digests of both."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._plain, self._compressed = hashlib.sha256(), hashlib.sha256()
        self._compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        self.size = 0

    def put(self, data: bytes) -> None:
        self._plain.update(data)
        self._write(self._compressor.compress(data))

    def close(self) -> None:
        self._write(self._compressor.flush())

    def _write(self, data: bytes) -> None:
        self._compressed.update(data)
        self._file.write(data)
        self.size += len(data)

    @property
    def digest(self) -> str:
        return self._compressed.hexdigest()

    @property
    def diff_id(self) -> str:
        return self._plain.hexdigest()


def _archive(directory: Path) -> Iterator[bytes]:
    """The tar of the files in a directory."""
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            info = tarfile.TarInfo(str(path.relative_to(directory)))
            info.size = path.stat().st_size
            yield layertar.header(info)
            yield from _content(path)
            yield layertar.padding(info.size)
    yield layertar.END


def _content(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            yield piece
