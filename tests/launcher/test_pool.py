import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from berm.launcher import pool

pytestmark = pytest.mark.root


def test_a_btrfs_pool_stops_a_sandbox_at_its_limit(btrfs: Path) -> None:
    storage = pool.open_pool(btrfs, btrfs / "unused", 1)
    assert storage.quotas
    storage.make(1)
    assert storage.spare() == {1}
    directory = storage.claim(1, "one", 8)
    assert (storage.names(), storage.spare(), storage.slot("one")) == ({"one"}, set(), 1)
    with (directory / "rw/upper/big").open("wb") as file, pytest.raises(OSError) as failure:
        while True:
            file.write(os.urandom(1 << 20))
            os.fsync(file.fileno())
    assert failure.value.errno in (errno.EDQUOT, errno.ENOSPC)
    assert (directory / "rw/upper/big").stat().st_size <= 8 << 20
    storage.make(2)
    other = storage.claim(2, "two", 8)
    (other / "rw/upper/small").write_bytes(b"x" * 4096)
    storage.make(3)
    with pytest.raises(OSError, match="has storage already"):
        storage.claim(3, "two", 8)
    storage.discard(3)
    for name in ("one", "two", "two"):
        storage.remove(name)
    assert storage.slot("one") is None
    assert list((btrfs / "sandboxes").iterdir()) == []
    storage.close()


def test_a_marked_sandbox_keeps_its_files_and_goes_on_with_them(btrfs: Path) -> None:
    storage = pool.open_pool(btrfs, btrfs / "unused", 1)
    storage.make(1)
    directory = storage.claim(1, "one", 8)
    (directory / "rw/upper/file").write_text("kept")
    storage.mark("one", 3)
    storage.put_away("one")
    storage.put_away("one")
    assert (storage.names(), storage.put_away_names(), storage.generation("one")) == (set(), {"one"}, 3)
    shutil.rmtree(btrfs / "paused/one/rw/work")
    storage.make(2)
    again = storage.claim(2, "one", 8)
    assert (storage.slot("one"), storage.spare(), storage.generation("one")) == (2, set(), 3)
    assert (again / "rw/upper/file").read_text() == "kept"
    storage.put_away("one")
    storage.unmark("one")
    storage.put_away("one")
    assert (storage.names(), storage.put_away_names(), storage.generation("one")) == (set(), set(), None)
    storage.close()


def test_an_image_is_made_mounted_found_again_and_unmounted(tmp_path: Path) -> None:
    root, image = tmp_path / "pool", tmp_path / "pool.img"
    storage = pool.open_pool(root, image, 1)
    (root / "layers" / "mark").touch()
    again = pool.open_pool(root, image, 1)
    assert (again.root / "layers" / "mark").exists()
    mode = root.stat().st_mode & 0o777
    assert mode == 0o700
    storage.close()
    assert not root.is_mount()
    reopened = pool.open_pool(root, image, 1)
    assert (root / "layers" / "mark").exists()
    reopened.close()


def test_plain_directories_are_removed_however_deep(tmp_path: Path) -> None:
    (tmp_path / "sandboxes").mkdir()
    storage = pool.PlainPool(tmp_path)
    storage.make(1)
    upper = storage.claim(1, "one", 8) / "rw/upper"
    nest = "import os\nfor _ in range(3000):\n    os.mkdir('d')\n    os.chdir('d')"
    subprocess.run([sys.executable, "-c", nest], cwd=upper, check=True)
    (upper / "escape").symlink_to("/etc")
    storage.remove("one")
    assert list((tmp_path / "sandboxes").iterdir()) == []
    assert Path("/etc/passwd").exists()
    assert not storage.quotas
