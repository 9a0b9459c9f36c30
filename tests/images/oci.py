"""Images written by hand, as OCI layouts, and a real registry on loopback to pull them from."""

import gzip
import hashlib
import io
import json
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import pytest

_LISTENING = re.compile(r"listening on (127\.0\.0\.1:\d+)")


def layer(entries: Sequence[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """A layer's tar; the entries may be as wrong as an attacker makes them."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, content in entries:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def tree_layer(root: Path) -> bytes:
    """A layer of everything below a directory, owned by root."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(root, arcname=".")
    return buffer.getvalue()


def file(name: str, content: bytes = b"", mode: int = 0o644) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.mode = mode
    return info, content


def symlink(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    return info, b""


@dataclass(frozen=True)
class Registry:
    """docker-registry(1), running."""

    address: str
    storage: Path
    work: Path

    def push(self, name: str, layers: Sequence[bytes], config: Mapping[str, object] | None = None) -> str:
        """Push an image; returns its digest."""
        source = Path(tempfile.mkdtemp(prefix="layout-", dir=self.work))
        digest = write_layout(source, layers, config or {})
        target = f"docker://{self.address}/{name}"
        command = ["skopeo", "copy", "--quiet", "--dest-tls-verify=false", f"oci:{source}:image", target]
        subprocess.run(command, check=True)
        return digest

    def blob(self, digest: str) -> Path:
        """Where the registry keeps a blob."""
        algorithm, value = digest.split(":")
        found = self.storage / "docker/registry/v2/blobs" / algorithm / value[:2] / value / "data"
        assert found.is_file()
        return found


def write_layout(path: Path, layers: Sequence[bytes], config: Mapping[str, object]) -> str:
    """An OCI layout with one image, tagged `image`; returns the digest of its manifest."""
    blobs = path / "blobs/sha256"
    blobs.mkdir(parents=True)

    def blob(content: bytes, kind: str) -> dict[str, object]:
        digest = hashlib.sha256(content).hexdigest()
        (blobs / digest).write_bytes(content)
        media_type = f"application/vnd.oci.image.{kind}"
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    image = {
        "architecture": "amd64",
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(a).hexdigest()}" for a in layers]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob(json.dumps(image).encode(), "config.v1+json"),
        "layers": [blob(gzip.compress(a, 1), "layer.v1.tar+gzip") for a in layers],
    }
    described = blob(json.dumps(manifest).encode(), "manifest.v1+json")
    named = {**described, "annotations": {"org.opencontainers.image.ref.name": "image"}}
    (path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
    (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return str(described["digest"])


@contextmanager
def running_registry(directory: Path) -> Iterator[Registry]:
    """A registry without TLS on a free loopback port; see `insecure`."""
    storage = directory / "storage"
    config = directory / "config.yml"
    config.write_text(
        json.dumps(
            {
                "version": 0.1,
                "log": {"accesslog": {"disabled": True}},
                "storage": {"filesystem": {"rootdirectory": str(storage)}},
                "http": {"addr": "127.0.0.1:0"},
            }
        )
    )
    command = ["docker-registry", "serve", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        try:
            address = _listening_address(process)
            with insecure(directory, address):
                yield Registry(address, storage, directory)
        finally:
            process.kill()


@contextmanager
def insecure(directory: Path, *addresses: str) -> Iterator[None]:
    """Let skopeo speak plain HTTP to these addresses: the directory becomes HOME, where it looks for that."""
    conf = directory / ".config/containers/registries.conf"
    conf.parent.mkdir(parents=True)
    conf.write_text(
        "".join(f'[[registry]]\nlocation = "{address}"\ninsecure = true\n' for address in addresses)
    )
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("HOME", str(directory))
        yield


def _listening_address(process: subprocess.Popen[str]) -> str:
    assert process.stderr
    for line in process.stderr:
        if found := _LISTENING.search(line):
            # It goes on logging, and would wait for a reader once the pipe is full.
            Thread(target=process.stderr.read, daemon=True).start()
            return found[1]
    raise AssertionError("docker-registry ended before it listened")
