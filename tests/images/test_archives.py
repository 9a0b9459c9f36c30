import bz2
import gzip
import io
import lzma
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from berm.errors import BermError, Code
from berm.images import archives, process, sealed
from berm.images.archives import Limits
from tests.images.tars import Member, directory, file, hardlink, special, symlink, tar

pytestmark = pytest.mark.root


LIMITS = Limits()


async def unpacked(tmp_path: Path, content: bytes, limits: Limits = LIMITS, *, owners: bool = False) -> Path:
    archive, target = tmp_path / "archive", tmp_path / "target"
    archive.write_bytes(content)
    target.mkdir()
    await archives.unpack(archive, target, limits, owners=owners)
    return target


def _zstd(content: bytes) -> bytes:
    return subprocess.run(["zstd", "-c"], input=content, check=True, capture_output=True).stdout


Packed = Callable[[bytes], bytes]
PACKED: list[Packed] = [bytes, gzip.compress, bz2.compress, lzma.compress, _zstd]


@pytest.mark.parametrize("packed", PACKED)
async def test_compressions_are_known_by_content(tmp_path: Path, packed: Packed) -> None:
    content = packed(tar([file("d/f", b"content")]))
    target = await unpacked(tmp_path, content)
    assert (target / "d/f").read_bytes() == b"content"
    assert await archives.is_archive(tmp_path / "archive")


@pytest.mark.parametrize("packed", PACKED)
@pytest.mark.parametrize("content", [b"", b"text" * 200, b"\0" * 1024])
async def test_what_is_no_archive(tmp_path: Path, packed: Packed, content: bytes) -> None:
    (tmp_path / "file").write_bytes(packed(content))
    assert not await archives.is_archive(tmp_path / "file")


async def test_what_is_kept_and_what_is_not(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as packed:
        info = tarfile.TarInfo("set")
        info.mode, info.uid, info.gid, info.mtime = 0o6755, 1000, 1000, 1234
        info.pax_headers = {"SCHILY.xattr.user.overlay.whiteout": "y", "SCHILY.xattr.user.note": "n"}
        packed.addfile(info)
        sealed_directory = tarfile.TarInfo("d")
        sealed_directory.type, sealed_directory.mode = tarfile.DIRTYPE, 0o500
        packed.addfile(sealed_directory)
        packed.addfile(tarfile.TarInfo("d/f"))
    target = await unpacked(tmp_path, buffer.getvalue())
    status = (target / "set").stat()
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid, status.st_mtime) == (0o6755, 0, 0, 1234)
    assert os.listxattr(target / "set") == []
    assert (target / "d").stat().st_mode & 0o7777 == 0o500
    assert (target / "d/f").exists()


async def test_owners_are_kept_if_they_are_asked_for(tmp_path: Path) -> None:
    target = await unpacked(tmp_path, tar([file("f", mode=0o6755, owner=(1000, 42))]), owners=True)
    status = (target / "f").stat()
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o6755, 1000, 42)


async def test_links_are_made_and_not_followed(tmp_path: Path) -> None:
    members = [symlink("abs", "/etc"), symlink("up", "../../.."), symlink("none", "nowhere"), file("f")]
    target = await unpacked(tmp_path, tar([*members, hardlink("twin", "f")]))
    found = {path.name: str(path.readlink()) for path in target.iterdir() if path.is_symlink()}
    assert found == {"abs": "/etc", "up": "../../..", "none": "nowhere"}
    assert (target / "twin").samefile(target / "f")


BROKEN = "the archive cannot be unpacked: "


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([file("/tmp/absolute-in-tar")], "names that lead out of it"),
        ([file("../out")], "Removing leading `../'"),
        ([file("d/../../out")], "Removing leading `d/../../'"),
        ([directory("d"), file("d/..")], "Removing leading `d/..'"),
        ([symlink("a", "/tmp"), file("a/through-in-tar")], "a/through-in-tar: Cannot open: Not a directory"),
        ([symlink("a", "../"), file("a/out")], "a/out: Cannot open: Not a directory"),
        ([symlink("a", "."), symlink("a/b", ".."), file("a/b/out")], "a/b/out: Cannot open"),
        ([hardlink("h", "/etc/passwd")], "names that lead out of it"),
        ([hardlink("h", "../../../etc/passwd")], "names that lead out of it"),
        ([symlink("a", "/etc"), hardlink("h", "a/passwd")], "Cannot hard link to"),
        ([hardlink("h", "nothing")], "Cannot hard link to"),
        ([special("dev", tarfile.CHRTYPE)], "dev is a device"),
        ([special("dev", tarfile.BLKTYPE)], "dev is a device"),
        ([special("fifo", tarfile.FIFOTYPE)], "fifo is a named pipe"),
        ([file("n" * 300)], "File name too long"),
    ],
)
async def test_what_leads_out_or_is_no_file(tmp_path: Path, members: Sequence[Member], words: str) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    with pytest.raises(BermError) as caught:
        await unpacked(inside, tar(members))
    assert str(caught.value).startswith(BROKEN)
    assert words in str(caught.value)
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert list(tmp_path.iterdir()) == [inside]
    assert {path.name for path in inside.iterdir()} == {"archive", "target"}
    assert not list(Path("/tmp").glob("*-in-tar"))


@pytest.mark.parametrize(
    "content",
    [
        b"no archive at all" * 100,
        gzip.compress(tar([file("f", b"x" * 5000)]), mtime=0)[:-40],
        gzip.compress(b"text", mtime=0),
        tar([file("f", b"x" * 5000)])[:2048],
        b"\x28\xb5\x2f\xfd broken",
        b"\x1f\x8b",
        b"\xfd7zXZ\x00",
    ],
)
async def test_what_is_broken(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(BermError, match=BROKEN) as caught:
        await unpacked(tmp_path, content)
    assert caught.value.code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize("packed", PACKED)
async def test_a_bomb(tmp_path: Path, packed: Packed) -> None:
    limits = Limits(size=1 << 20)
    with pytest.raises(BermError, match="unpacks to more than is allowed") as caught:
        await unpacked(tmp_path, packed(tar([file("f", bytes(2 << 20))])), limits)
    assert caught.value.code is Code.TOO_LARGE


async def test_a_bomb_behind_the_end_of_the_archive(tmp_path: Path) -> None:
    with pytest.raises(BermError, match="unpacks to more than is allowed"):
        await unpacked(tmp_path, gzip.compress(tar([file("f")]) + bytes(2 << 20)), Limits(size=1 << 20))


async def test_many_entries(tmp_path: Path) -> None:
    members = [file(f"f{number}", b"") for number in range(20)]
    with pytest.raises(BermError, match="unpacks to more than is allowed") as caught:
        await unpacked(tmp_path, tar(members), Limits(entries=19))
    assert caught.value.code is Code.TOO_LARGE


async def test_a_sparse_file_counts_with_its_holes(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as sparse:
        sparse.truncate(1 << 40)
    command = ["tar", "-C", str(tmp_path), "--sparse", "-cf", "-", "sparse"]
    packed = subprocess.run(command, check=True, capture_output=True).stdout
    with pytest.raises(BermError, match="unpacks to more than is allowed") as caught:
        await unpacked(tmp_path, packed)
    assert caught.value.code is Code.TOO_LARGE


async def test_names_with_lines_and_bytes_that_are_not_text(tmp_path: Path) -> None:
    names = ["a\nprw-r--r-- 0 0 2020 fake", os.fsdecode(b"\xff\xfe"), "tar: Exiting", "a -> b"]
    target = await unpacked(tmp_path, tar([file(name) for name in names]))
    assert {path.name for path in target.iterdir()} == set(names)


async def test_a_full_disk(tmp_path: Path) -> None:
    script = (
        'mount -t tmpfs -o size=1m none "$1/target" && head -c 2M /dev/zero > "$1/f" '
        '&& tar -C "$1" -cf "$1/archive" f && exec "$2" -c "$3" "$1"'
    )
    program = (
        "import asyncio, sys; from pathlib import Path; from berm.images.archives import Limits, unpack;"
        "root = Path(sys.argv[1]); asyncio.run(unpack(root / 'archive', root / 'target', Limits()))"
    )
    (tmp_path / "target").mkdir()
    command = ["unshare", "--mount", "sh", "-c", script, "sh", str(tmp_path), sys.executable, program]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert "there is no space left to unpack the archive" in done.stderr


async def test_what_runs_sealed_can_write_to_one_directory(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for path in (inside, outside):
        path.mkdir()
    script = (
        f"touch {inside}/f && ! touch {outside}/f && ! touch /etc/berm-test && ! mknod {inside}/d c 1 3"
        f" && ! mount -t tmpfs none {inside} && ! umount {inside} && ! echo 1 > /proc/sys/kernel/panic"
        " && echo fine"
    )
    seal = [sys.executable, "-I", "-S", str(Path(sealed.__file__)), str(inside)]
    lines: list[str] = []
    await process.run([*seal, "sh", "-c", script], lines.append)
    assert lines[-1] == "fine"
    assert list(outside.iterdir()) == []
