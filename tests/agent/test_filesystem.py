import os
import stat
import subprocess
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from e2b import FileNotFoundException, FileType, InvalidArgumentException, Sandbox, SandboxException

from tests.agent.wire import call

pytestmark = pytest.mark.root


def test_stat(sandbox: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("12345")
    path.chmod(0o640)
    os.chown(path, 65534, 0)
    info = sandbox.files.get_info(str(path))
    assert (info.name, info.path, info.size, info.type) == ("file", str(path), 5, FileType.FILE)
    assert (info.mode, info.permissions, info.owner, info.group) == (0o640, "-rw-r-----", "nobody", "root")
    assert info.modified_time.timestamp() == pytest.approx(path.stat().st_mtime, abs=1e-5)
    assert info.symlink_target is None


def test_stat_of_a_directory(sandbox: Sandbox, tmp_path: Path) -> None:
    info = sandbox.files.get_info(str(tmp_path) + "/../" + tmp_path.name + "/")
    assert (info.name, info.path, info.type) == (tmp_path.name, str(tmp_path), FileType.DIR)
    assert info.permissions == stat.filemode(tmp_path.stat().st_mode)


def test_stat_of_the_root(client: httpx.Client) -> None:
    entry = call(client, "filesystem.Filesystem/Stat", {"path": "/"}).json()["entry"]
    assert (entry["name"], entry["path"], entry["type"]) == ("/", "/", "FILE_TYPE_DIRECTORY")


def test_links_have_the_type_of_their_target(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "link").symlink_to("dir")
    info = sandbox.files.get_info(str(tmp_path / "link"))
    assert (info.type, info.symlink_target) == (FileType.DIR, str(tmp_path / "dir"))
    assert info.permissions == "lrwxrwxrwx"


def test_a_dangling_link_is_there(client: httpx.Client, sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    entry = call(client, "filesystem.Filesystem/Stat", {"path": str(tmp_path / "link")}).json()["entry"]
    assert entry["symlinkTarget"] == str(tmp_path / "nowhere")
    assert "type" not in entry
    assert sandbox.files.exists(str(tmp_path / "link"))


def test_names_that_are_not_utf8(client: httpx.Client, tmp_path: Path) -> None:
    (Path(os.fsdecode(bytes(tmp_path) + b"/\xff"))).touch()
    (entry,) = call(client, "filesystem.Filesystem/ListDir", {"path": str(tmp_path)}).json()["entries"]
    assert entry["name"] == "\ufffd"


def test_missing(sandbox: Sandbox) -> None:
    assert not sandbox.files.exists("/no/such")
    with pytest.raises(FileNotFoundException):
        sandbox.files.get_info("/no/such")
    with pytest.raises(FileNotFoundException):
        sandbox.files.list("/no/such")
    with pytest.raises(FileNotFoundException):
        sandbox.files.rename("/no/such", "/tmp/x")


def test_make_dir(sandbox: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    assert sandbox.files.make_dir(str(path), user="nobody")
    assert [made.stat().st_uid for made in (path, path.parent)] == [65534, 65534]
    assert path.stat().st_mode & 0o777 == 0o755
    assert not sandbox.files.make_dir(str(path))


def test_make_dir_over_a_file(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in tmp_path / "file", tmp_path / "file" / "below":
        with pytest.raises(InvalidArgumentException):
            sandbox.files.make_dir(str(path))


def test_move(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("moved")
    target = tmp_path / "new" / "place"
    entry = sandbox.files.rename(str(tmp_path / "file"), str(target), user="nobody")
    assert (entry.path, target.read_text(), (tmp_path / "file").exists()) == (str(target), "moved", False)
    assert target.parent.stat().st_uid == 65534


def test_move_to_another_filesystem(sandbox: Sandbox, tmp_path: Path, small_disk: Path) -> None:
    source = tmp_path / "tree"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "file").write_text("content")
    (source / "link").symlink_to("sub/file")
    os.chown(source / "sub", 65534, 65534)
    os.chown(source / "sub" / "file", 65534, 0)
    sandbox.files.rename(str(source), str(small_disk / "tree"))
    moved = small_disk / "tree"
    assert (moved / "link").read_text() == "content"
    assert (moved / "link").is_symlink()
    assert ((moved / "sub").stat().st_uid, (moved / "sub" / "file").stat().st_gid) == (65534, 0)
    assert not source.exists()


def test_list_in_walk_order(sandbox: Sandbox, tmp_path: Path) -> None:
    for name in "b/z", "b/a/deep", "a.txt", "c":
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    def listed(depth: int) -> list[str]:
        return [entry.path.removeprefix(f"{tmp_path}/") for entry in sandbox.files.list(str(tmp_path), depth)]

    assert listed(1) == ["a.txt", "b", "c"]
    assert listed(2) == ["a.txt", "b", "b/a", "b/z", "c"]
    assert listed(9) == ["a.txt", "b", "b/a", "b/a/deep", "b/z", "c"]


def test_list_without_depth_is_one_level(client: httpx.Client, tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    entries = call(client, "filesystem.Filesystem/ListDir", {"path": str(tmp_path)}).json()["entries"]
    assert [entry["name"] for entry in entries] == ["a"]


def test_list_follows_no_links(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(".")
    assert [entry.name for entry in sandbox.files.list(str(tmp_path), 5)] == ["loop"]


def test_list_of_a_file(sandbox: Sandbox) -> None:
    with pytest.raises(InvalidArgumentException):
        sandbox.files.list("/etc/passwd")


def test_remove(sandbox: Sandbox, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    tree = tmp_path / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "file").touch()
    (tree / "a" / "link").symlink_to(kept)
    sandbox.files.remove(str(tree))
    sandbox.files.remove(str(tree))
    (tmp_path / "link").symlink_to(kept)
    sandbox.files.remove(str(tmp_path / "link"))
    assert os.listdir(tmp_path) == ["kept"]
    assert os.listdir(kept) == ["file"]


def test_a_tree_deeper_than_the_stack(client: httpx.Client, tmp_path: Path) -> None:
    deep = tmp_path / "d"
    os.makedirs(deep)
    fd = os.open(deep, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=fd)
        inner = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    for method, message in (
        ("Remove", {}),
        ("ListDir", {"depth": 5000}),
        ("CreateWatcher", {"recursive": True}),
    ):
        answer = call(client, f"filesystem.Filesystem/{method}", {"path": str(deep)} | message)
        assert answer.json().get("code") == "invalid_argument", method
    assert client.get("/health").status_code == 204
    subprocess.run(["rm", "-rf", str(deep)], check=True)


@pytest.mark.parametrize("path", ["a\0b", "~nobody", "~nobody/x"])
def test_impossible_paths(client: httpx.Client, path: str) -> None:
    for method in "Stat", "MakeDir", "ListDir", "Remove", "CreateWatcher":
        answer = call(client, f"filesystem.Filesystem/{method}", {"path": path})
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument"), method


def test_too_long_a_path(client: httpx.Client) -> None:
    for path in "x" * 300, "/x" * 3000:
        answer = call(client, "filesystem.Filesystem/Stat", {"path": path})
        assert answer.json()["code"] == "invalid_argument"


def test_paths_relative_to_home(client: httpx.Client) -> None:
    for path in "", "~", ".", "/root", "~/":
        entry = call(client, "filesystem.Filesystem/Stat", {"path": path}).json()["entry"]
        assert entry["path"] == "/root"


def test_unknown_user(client: httpx.Client) -> None:
    answer = call(client, "filesystem.Filesystem/Stat", {"path": "/"}, authorization="Basic c3RyYW5nZXI6")
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert answer.json()["message"] == "invalid username: 'stranger'"


def test_no_room_for_a_directory(sandbox: Sandbox, small_disk: Path) -> None:
    """Not told as if there had been too many requests: trying again would not help."""
    (small_disk / "old").touch()
    with suppress(OSError):
        for number in range(1 << 20):
            (small_disk / str(number)).mkdir()
    for act in (
        lambda: sandbox.files.make_dir(str(small_disk / "more")),
        lambda: sandbox.files.rename(str(small_disk / "old"), str(small_disk / "a/b")),
    ):
        with pytest.raises(SandboxException, match="not enough disk space") as failure:
            act()
        assert failure.type is SandboxException
