from pathlib import Path

import pytest

from berm.launcher import btrfs, pool

pytestmark = pytest.mark.root


@pytest.fixture
def volume(request: pytest.FixtureRequest) -> Path:
    """A small btrfs, mounted: the fixture `btrfs`, by a name that is not the module's."""
    return Path(request.getfixturevalue("btrfs"))


def test_a_branch_has_what_there_was_and_numbers_of_its_own(volume: Path) -> None:
    first, second = volume / "first", volume / "second"
    btrfs.create(first)
    (first / "old").write_text("old")
    assert btrfs.branch(first, second)
    (first / "later").touch()
    (second / "new").touch()
    assert sorted(path.name for path in second.iterdir()) == ["new", "old"]
    assert (second / "new").stat().st_ino > (second / "old").stat().st_ino
    assert btrfs.destroy(first)
    assert (second / "old").read_text() == "old"
    assert not btrfs.destroy(first)


@pytest.mark.parametrize("kind", ["directory", "file", "nothing"])
def test_what_is_no_subvolume_is_left_alone(volume: Path, kind: str) -> None:
    path = volume / "it"
    if kind == "directory":
        path.mkdir()
    elif kind == "file":
        path.touch()
    assert not btrfs.destroy(path)
    assert path.exists() == (kind != "nothing")


def test_a_file_system_without_subvolumes(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert not btrfs.branch(tmp_path / "a", tmp_path / "b")
    assert not btrfs.destroy(tmp_path / "a")
    with pytest.raises(OSError, match=r"ioctl|Inappropriate"):
        btrfs.create(tmp_path / "c")


@pytest.mark.parametrize("plain", [True, False])
def test_what_a_sandbox_wrote_becomes_a_layer_without_its_records(
    volume: Path, tmp_path: Path, plain: bool
) -> None:
    root = tmp_path / "plain" if plain else volume
    for name in pool.DIRECTORIES:
        (root / name).mkdir(parents=True)
    storage = pool.PlainPool(root) if plain else pool.BtrfsPool(root, mounted=False)
    storage.make(1)
    directory = storage.claim(1, "one", 8)
    (directory / "rw/upper/written").write_text("x")
    (directory / "rw/work/work").mkdir(mode=0)
    (directory / "log").touch()
    storage.keep("one", "layer")
    assert [str(path.relative_to(root / "layers/layer")) for path in (root / "layers/layer").rglob("*")] == [
        *("tree", "tree/written")
    ]
    assert not storage.names()
    assert not storage.spare()
    storage.make(2)
    storage.claim(2, "two", 8)
    with pytest.raises(OSError, match="there is a layer layer already"):
        storage.keep("two", "layer")
    assert storage.slot("two") == 2


def test_a_sandbox_takes_the_storage_that_was_prepared_for_it(volume: Path) -> None:
    storage = pool.open_pool(volume, volume / "unused", 1)
    btrfs.create(volume / "branches/one")
    (volume / "branches/one/mark").touch()
    storage.make(1)
    assert (storage.claim(1, "one", 8) / "mark").exists()
    assert (storage.slot("one"), storage.spare(), list((volume / "branches").iterdir())) == (1, set(), [])
