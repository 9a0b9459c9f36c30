from dataclasses import replace
from typing import Any

import pytest

from berm.launcher import sources
from berm.launcher.spec import MAX_TREES, LaunchSpec, MountSpec

LAUNCH = LaunchSpec("one", ("base", "top"), 1, 64, 64, 10, internet=False)
LAYERS = MountSpec("/a", sources=("layers/base", "layers/other"))
FILES = MountSpec("/b", "x/y", sources=("files/team-abc",))
CACHE = MountSpec("/c", sources=("caches/c",))
VOLUME = MountSpec("/e", sources=("volumes/one",))
MEMORY = MountSpec("/d", "file", size_mb=1)


def test_each_directory_is_given_once() -> None:
    launch = replace(LAUNCH, mounts=(LAYERS, FILES, CACHE, MEMORY, VOLUME))
    places = sources.of(launch)
    assert places == [
        *("layers/base/tree", "layers/top/tree", "layers/other/tree", "files/team-abc", "caches/c"),
        "volumes/one/tree",
    ]
    trees = [sources.numbered(mount, places).trees for mount in launch.mounts]
    assert trees == [(0, 2), (3,), (4,), (), (5,)]


def test_what_a_sandbox_writes_to_for_all_to_see() -> None:
    assert [mount.is_overlaid for mount in (LAYERS, FILES, CACHE, VOLUME)] == [True, True, False, False]


def test_a_spec_is_the_same_after_the_wire() -> None:
    launch = replace(LAUNCH, mounts=(LAYERS, MEMORY))
    assert LaunchSpec.from_wire(launch.to_wire()) == launch


WRONG: dict[str, dict[str, Any]] = {
    "a layer up": {"layers": ("..",)},
    "a layer elsewhere": {"layers": ("a/../../b",)},
    "no layer": {"layers": ("",)},
    "a hidden layer": {"layers": (".partial-x",)},
    "a kind of its own": {"mounts": (replace(CACHE, sources=("sandboxes/one",)),)},
    "no kind": {"mounts": (replace(CACHE, sources=("c",)),)},
    "a cache elsewhere": {"mounts": (replace(CACHE, sources=("caches/../sandboxes",)),)},
    "a cache of two": {"mounts": (replace(CACHE, sources=("caches/a/b",)),)},
    "a volume elsewhere": {"mounts": (replace(VOLUME, sources=("volumes/../layers/base",)),)},
    "a hidden volume": {"mounts": (replace(VOLUME, sources=("volumes/.partial-x",)),)},
    "a relative target": {"mounts": (replace(CACHE, target="c"),)},
    "a target up": {"mounts": (replace(CACHE, target="/c/.."),)},
    "a path up": {"mounts": (replace(FILES, path="x/../.."),)},
    "a path with an end": {"mounts": (replace(FILES, path="x\0y"),)},
    "nothing": {"mounts": (replace(CACHE, sources=()),)},
    "both": {"mounts": (replace(CACHE, size_mb=1),)},
    "a path in memory": {"mounts": (replace(MEMORY, path="a/b"),)},
    "too much": {"layers": tuple(f"l{number}" for number in range(MAX_TREES + 1))},
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_not_given(name: str) -> None:
    with pytest.raises(ValueError, match=r"is not|is nothing|is neither|are more than"):
        sources.of(replace(LAUNCH, **WRONG[name]))
