import os
from pathlib import Path

import pytest

from berm.images import process, tree

pytestmark = pytest.mark.root


async def test_a_tree_gets_its_name_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "layers/one"
    async with tree.staged(target) as fresh:
        fresh.mkdir()
        (fresh / "file").write_text("text")
        assert not target.exists()
    assert (target / "file").read_text() == "text"
    assert list(target.parent.iterdir()) == [target]


async def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        await fail_in(tmp_path / "one")
    assert list(tmp_path.iterdir()) == []


async def fail_in(target: Path) -> None:
    async with tree.staged(target) as fresh:
        (fresh / "some").mkdir(parents=True)
        raise RuntimeError


async def test_the_first_of_two_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "one"
    async with tree.staged(target) as late:
        late.mkdir()
        async with tree.staged(target) as early:
            early.mkdir()
            (early / "early").touch()
    assert [path.name for path in target.iterdir()] == ["early"]
    assert list(tmp_path.iterdir()) == [target]


async def test_a_hostile_tree_is_removed_without_what_it_points_at(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    hostile = tmp_path / "hostile"
    hostile.mkdir()
    (hostile / "link").symlink_to(kept)
    (hostile / "-rf").touch()
    make_deep(hostile, 3000)
    await tree.remove(hostile)
    assert not hostile.exists()
    assert (kept / "file").exists()


def make_deep(directory: Path, levels: int) -> None:
    """Deeper than a path can name."""
    here = os.open(directory, os.O_DIRECTORY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


async def test_removing_what_is_not_there_is_no_error(tmp_path: Path) -> None:
    await tree.remove(tmp_path / "nothing")


async def test_sweep_removes_what_a_killed_process_left(tmp_path: Path) -> None:
    (tmp_path / "layer").mkdir()
    make = "import pathlib, sys, tempfile; print(tempfile.mkdtemp(prefix='.partial-', dir=sys.argv[1]))"
    left = (await process.read(["python3", "-c", make, str(tmp_path)])).decode().strip()
    (Path(left) / "tree").mkdir()
    await tree.sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["layer"]
    await tree.sweep(tmp_path / "nowhere")
