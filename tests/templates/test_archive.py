import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from berm.errors import BermError, Code
from berm.templates.archive import pack, packed
from berm.templates.context import Context, Selection


def select(root: Path, *sources: str) -> Selection:
    selection = Context(root).select(sources or ["."])
    assert (selection.errors, selection.missing) == ((), ())
    return selection


def members(selection: Selection, compress: bool = False) -> dict[str, tarfile.TarInfo]:
    with packed(selection, compress) as archive, tarfile.open(fileobj=io.BytesIO(b"".join(archive))) as tar:
        return {item.name: item for item in tar}


def test_an_archive_has_what_was_selected(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir(mode=0o711)
    (tmp_path / "folder" / "run").write_text("run")
    (tmp_path / "folder" / "run").chmod(0o4755)
    (tmp_path / "folder" / "link").symlink_to("/etc/passwd")
    (tmp_path / "beside").touch()
    os.utime(tmp_path / "folder" / "run", (12345.5, 12345.5))
    found = members(select(tmp_path, "folder"))
    told = {name: (item.type, item.mode, item.size, item.linkname) for name, item in found.items()}
    assert told == {
        "folder": (tarfile.DIRTYPE, 0o711, 0, ""),
        "folder/link": (tarfile.SYMTYPE, 0o777, 0, "/etc/passwd"),
        "folder/run": (tarfile.REGTYPE, 0o4755, 3, ""),
    }
    assert found["folder/run"].mtime == 12345


@pytest.mark.root
def test_owners_are_not_sent(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    os.chown(tmp_path / "a", 1234, 5678)
    item = members(select(tmp_path))["a"]
    assert (item.uid, item.gid, item.uname, item.gname) == (0, 0, "", "")


def test_hard_links_are_files(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("same")
    os.link(tmp_path / "a", tmp_path / "b")
    found = members(select(tmp_path))
    assert [(item.name, item.type, item.size) for item in found.values()] == [
        ("a", tarfile.REGTYPE, 4),
        ("b", tarfile.REGTYPE, 4),
    ]


@pytest.mark.parametrize("compress", [False, True])
def test_contents_come_back(tmp_path: Path, compress: bool) -> None:
    contents = {f"{size}": os.urandom(size) for size in (0, 1, 511, 512, 513, 1 << 20, (2 << 20) + 7)}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    with packed(select(tmp_path), compress) as archive:
        data = b"".join(archive)
        assert archive.length == len(data)
        assert b"".join(archive) == data
    assert data.startswith(b"\x1f\x8b") == compress
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        found = {item.name: member.read() for item in tar if (member := tar.extractfile(item))}
    assert found == contents


def test_long_and_odd_names_come_back(tmp_path: Path) -> None:
    long = "/".join(["n" * 120] * 3)
    (tmp_path / long).mkdir(parents=True)
    names = ["\udcff\udcfe", "\udcff" * 120, "ü" * 60, "a\nb", "-rf", " ", "ü"]
    for name in names:
        (tmp_path / name).symlink_to(f"to-{name}")
    found = members(select(tmp_path))
    assert long in found
    links = {name: item.linkname for name, item in found.items() if item.issym()}
    assert links == {name: f"to-{name}" for name in names}


def test_a_link_as_a_source_is_sent_as_what_it_links_to(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("real")
    (tmp_path / "link").symlink_to("real")
    item = members(select(tmp_path, "link"))["link"]
    assert (item.type, item.size) == (tarfile.REGTYPE, 4)


def test_a_sparse_file_becomes_small_when_compressed(tmp_path: Path) -> None:
    (tmp_path / "sparse").touch()
    os.truncate(tmp_path / "sparse", 64 << 20)
    with packed(select(tmp_path), compress=True) as archive:
        assert archive.length < 1 << 20


def test_equal_selections_make_equal_archives(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    targets = io.BytesIO(), io.BytesIO()
    for target in targets:
        pack(select(tmp_path), target, compress=True)
    assert targets[0].getvalue() == targets[1].getvalue()


@pytest.mark.parametrize("change", ["longer", "shorter", "gone"])
def test_a_file_that_changed_since_it_was_selected_is_an_error(tmp_path: Path, change: str) -> None:
    (tmp_path / "a").write_text("before")
    selection = select(tmp_path)
    (tmp_path / "a").unlink()
    if change != "gone":
        (tmp_path / "a").write_text("after it" if change == "longer" else "")
    with pytest.raises(BermError, match="'a' changed while it was read") as caught:
        pack(selection, io.BytesIO())
    assert caught.value.code is Code.CONFLICT


def test_other_programs_read_it_too(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (root / "folder" / "file").write_text("text")
    (root / ("n" * 99)).touch()
    (root / ("n" * 100)).touch()
    (root / "link").symlink_to("t" * 100)
    (root / "old").touch()
    os.utime(root / "old", (-1, -1))
    with (tmp_path / "a.tar").open("wb") as file:
        pack(select(root), file)
    (tmp_path / "out").mkdir()
    done = subprocess.run(
        ["tar", "--extract", "--file", "a.tar", "--directory", "out"],
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    assert done.stderr in (b"", b"tar: old: implausibly old time stamp 1969-12-31 23:59:59\n")
    assert select(tmp_path / "out").digest == select(root).digest
