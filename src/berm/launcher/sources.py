"""What of the pool a sandbox is given, out of names that a caller chose."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from berm.launcher.spec import MAX_TREES, LaunchSpec, MountSpec

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_PLACES: Final = {
    "layers": "layers/{}/tree",
    "caches": "caches/{}",
    "files": "files/{}",
    "volumes": "volumes/{}/tree",
}


def check(name: str) -> str:
    """Raises ValueError for what is not the name of a layer or directory, which cannot lead anywhere else."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a name that the launcher takes")
    return name


def layer(name: str) -> str:
    """Where in the pool a layer is."""
    return _place(f"layers/{name}")


def _place(source: str) -> str:
    kind, _, name = source.partition("/")
    if kind not in _PLACES:
        raise ValueError(f"{source!r} is nothing that a sandbox may be given")
    return _PLACES[kind].format(check(name))


def of(launch: LaunchSpec) -> list[str]:
    """The directories of the pool that a sandbox is given, each once. Raises ValueError."""
    for mount in launch.mounts:
        _check_mount(mount)
    layers = map(layer, launch.layers)
    mounted = (_place(source) for mount in launch.mounts for source in mount.sources)
    places = list(dict.fromkeys((*layers, *mounted)))
    if len(places) > MAX_TREES:
        raise ValueError(f"{len(places)} layers and directories are more than the {MAX_TREES} of one sandbox")
    return places


def _check_mount(mount: MountSpec) -> None:
    named = f"{mount.target}/{mount.path}"
    if not named.startswith("/") or ".." in named.split("/") or "\0" in named:
        raise ValueError(f"{mount.target!r} with {mount.path!r} is not a mount that the launcher makes")
    if bool(mount.size_mb) == bool(mount.sources) or (mount.size_mb and "/" in mount.path):
        raise ValueError(f"the mount at {mount.target!r} is neither of the pool nor of memory")


def numbered(mount: MountSpec, places: Sequence[str]) -> MountSpec:
    """The mount with its sources as indices of `places`."""
    return replace(mount, trees=tuple(places.index(_place(source)) for source in mount.sources))
