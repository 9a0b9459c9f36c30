"""Images written by hand, and a real registry on loopback to pull them from."""

import gzip
import hashlib
import io
import json
import re
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qsl, urlparse

import httpx
import pytest

_LISTENING = re.compile(r"listening on (127\.0\.0\.1:\d+)")

Auth = tuple[str, str] | Callable[[httpx.Request], httpx.Request]
Descriptor = dict[str, object]
Store = dict[str, bytes]
"""Blobs and manifests by digest."""


@dataclass(frozen=True)
class Kind:
    """The media types of one of the two families of manifests."""

    manifest: str
    index: str
    config: str
    layer: str
    separator: str


OCI = Kind(
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.oci.image.layer.v1.tar",
    "+",
)
DOCKER = Kind(
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.container.image.v1+json",
    "application/vnd.docker.image.rootfs.diff.tar",
    ".",
)
LOGIN = ("someone", "hunter2-registry")
"""Who may ask a registry that asks for a password."""
HTPASSWD = "someone:$2b$04$abcdefghijklmnopqrstuuM/Z0A7FUJ615yT0MkE8r/urtke.cnyW\n"
"""The same as docker-registry reads it: hashed by bcrypt."""


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

    def push(
        self,
        name: str,
        layers: Sequence[bytes],
        config: Mapping[str, object] | None = None,
        auth: Auth = LOGIN,
    ) -> str:
        """Push an image; returns its digest."""
        store: Store = {}
        return self.push_made(name, store, image(store, layers, config), auth)

    def push_made(self, name: str, store: Store, described: Descriptor, auth: Auth = LOGIN) -> str:
        """Push what is described, as it is, and all else of the store; returns its digest."""
        repository, _, tag = name.partition(":")
        with httpx.Client(base_url=f"http://{self.address}/v2/{repository}", auth=auth) as client:
            manifests = {digest: content for digest, content in store.items() if _is_manifest(content)}
            for digest in store.keys() - manifests.keys():
                place = client.post("/blobs/uploads/").raise_for_status().headers["Location"]
                client.put(
                    place, params=_with_digest(place, digest), content=store[digest]
                ).raise_for_status()
            for digest, content in manifests.items():
                _put_manifest(client, digest, content)
            _put_manifest(client, tag, store[str(described["digest"])])
        return str(described["digest"])

    def blob(self, digest: str) -> Path:
        """Where the registry keeps a blob."""
        algorithm, value = digest.split(":")
        found = self.storage / "docker/registry/v2/blobs" / algorithm / value[:2] / value / "data"
        assert found.is_file()
        return found


def _is_manifest(content: bytes) -> bool:
    return content.startswith(b'{"schemaVersion"')


def _with_digest(place: str, digest: str) -> dict[str, str]:
    """The query of the address of an upload, which httpx would replace."""
    return {**dict(parse_qsl(urlparse(place).query)), "digest": digest}


def _put_manifest(client: httpx.Client, name: str, content: bytes) -> None:
    headers = {"Content-Type": json.loads(content)["mediaType"]}
    client.put(f"/manifests/{name}", content=content, headers=headers).raise_for_status()


def put(store: Store, content: bytes, media_type: str, **more: object) -> Descriptor:
    """Add content to a store; returns what describes it."""
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    store[digest] = content
    return {"mediaType": media_type, "digest": digest, "size": len(content), **more}


def image(
    store: Store,
    layers: Sequence[bytes],
    config: Mapping[str, object] | None = None,
    *,
    kind: Kind = OCI,
    compression: str = "gzip",
    architecture: str = "amd64",
) -> Descriptor:
    """Add an image to a store; `compression` is gzip, zstd or nothing."""
    described = {
        "architecture": architecture,
        "os": "linux",
        "config": config or {},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(a).hexdigest()}" for a in layers]},
    }
    layer_type = kind.layer + (kind.separator + compression if compression else "")
    return manifest(
        store,
        put(store, json.dumps(described).encode(), kind.config),
        [put(store, _compressed(content, compression), layer_type) for content in layers],
        kind,
    )


def manifest(store: Store, config: Descriptor, layers: Sequence[Descriptor], kind: Kind = OCI) -> Descriptor:
    content = {"schemaVersion": 2, "mediaType": kind.manifest, "config": config, "layers": list(layers)}
    return put(store, json.dumps(content).encode(), kind.manifest)


def index(store: Store, images: Mapping[str, Descriptor], kind: Kind = OCI) -> Descriptor:
    """Add an index of images for several architectures."""
    manifests = [{**one, "platform": {"architecture": name, "os": "linux"}} for name, one in images.items()]
    content = {"schemaVersion": 2, "mediaType": kind.index, "manifests": manifests}
    return put(store, json.dumps(content).encode(), kind.index)


def _compressed(content: bytes, how: str) -> bytes:
    if how == "zstd":
        return subprocess.run(["zstd", "-qc"], input=content, capture_output=True, check=True).stdout
    return gzip.compress(content, 1, mtime=0) if how else content


@contextmanager
def running_registry(
    directory: Path, auth: Mapping[str, object] | None = None, address: str = "127.0.0.1:0"
) -> Iterator[Registry]:
    """A registry without TLS on a free loopback port; see `insecure`. `auth` is of its configuration."""
    directory.mkdir(exist_ok=True)
    storage = directory / "storage"
    config = directory / "config.yml"
    settings = {
        "version": 0.1,
        "log": {"accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(storage)}},
        "http": {"addr": address},
    }
    config.write_text(json.dumps({**settings, **({"auth": auth} if auth else {})}))
    command = ["docker-registry", "serve", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        try:
            listening = _listening_address(process)
            with insecure(directory, listening):
                yield Registry(listening, storage, directory)
        finally:
            process.kill()


def htpasswd(directory: Path) -> dict[str, object]:
    """A configuration of `auth` in which LOGIN may do everything, and nobody else anything."""
    file = directory / "htpasswd"
    file.write_text(HTPASSWD)
    return {"htpasswd": {"realm": "test", "path": str(file)}}


@contextmanager
def insecure(directory: Path, *addresses: str, more: str = "") -> Iterator[None]:
    """Let skopeo speak plain HTTP to these addresses: the directory becomes HOME, where it looks for that.

    `more` is added to that registries.conf.
    """
    conf = directory / ".config/containers/registries.conf"
    conf.parent.mkdir(parents=True, exist_ok=True)
    tables = "".join(f'[[registry]]\nlocation = "{address}"\ninsecure = true\n' for address in addresses)
    conf.write_text(tables + more)
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
