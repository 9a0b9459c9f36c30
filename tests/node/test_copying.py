import asyncio
import gzip
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from berm.errors import BermError, Code
from berm.images import draft
from berm.images.archives import Limits
from berm.images.process import ignore
from berm.images.threads import Check
from berm.models import Layer
from berm.node import copying, layers, uploads
from berm.node.interface import Copying
from berm.templates.plan import Base, Copy, Inline
from tests.images.layers import directory, file, hidden, link, whiteout
from tests.images.tars import Member, symlink, tar
from tests.images.tars import file as tarred
from tests.node.copies import FILES, HASH, LIMITS, Make, Pool, nothing

pytestmark = pytest.mark.root


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return Pool(tmp_path)


def context(root: Path) -> None:
    file(root / "a.txt", "a")
    file(root / "b.txt", "b")
    file(root / "d/c.txt", "c")
    file(root / "d/e/f.txt", "f")
    link(root / "to-a", "a.txt")
    link(root / "to-d", "/d")
    link(root / "d/inner", "../a.txt")


D = {"c.txt": "c", "e/f.txt": "f", "inner": "-> ../a.txt"}
"""What is in the context's directory."""


def below(prefix: str, files: dict[str, str]) -> dict[str, str]:
    return {prefix + name: content for name, content in files.items()}


@pytest.mark.parametrize(
    ("sources", "to", "expected"),
    [
        (["a.txt"], "/new", {"new": "a"}),
        (["a.txt"], "/new/", {"new/a.txt": "a"}),
        (["a.txt"], "/new/.", {"new/a.txt": "a"}),
        (["a.txt"], "/", {"a.txt": "a"}),
        (["./a.txt"], "/x/y/z", {"x/y/z": "a"}),
        (["a.txt", "b.txt"], "/new", {"new/a.txt": "a", "new/b.txt": "b"}),
        (["d"], "/new", below("new/", D)),
        (["d/"], "/new/", below("new/", D)),
        (["d", "a.txt"], "/new/", below("new/", {**D, "a.txt": "a"})),
        (["*.txt"], "/new", {"new/a.txt": "a", "new/b.txt": "b"}),
        (["a.*"], "/new", {"new/a.txt": "a"}),
        (["[!a].txt", "?.txt"], "/n/", {"n/a.txt": "a", "n/b.txt": "b"}),
        (["d/*"], "/new", below("new/", {"c.txt": "c", "f.txt": "f", "inner": "a"})),
        (["*/c.txt", "none*"], "/new/", {"new/c.txt": "c"}),
        (["to-a"], "/new/", {"new/to-a": "a"}),
        (["to-d/c.txt"], "/new", {"new": "c"}),
        (["to-d"], "/new", below("new/", D)),
        (["../../a.txt"], "/../../new", {"new": "a"}),
    ],
)
def test_targets(pool: Pool, sources: list[str], to: str, expected: dict[str, str]) -> None:
    pool.files(context)
    pool.copy(*sources, to=to)
    assert pool.tree() == expected


def image(root: Path) -> None:
    file(root / "usr/bin/tool", "old")
    link(root / "bin", "usr/bin")
    link(root / "var/run", "/run")
    directory(root / "run")
    link(root / "data", "/mnt/data")
    link(root / "out", "../../../../../../tmp")
    link(root / "file-link", "usr/bin/tool")
    file(root / "app/d/kept.txt", "kept")


@pytest.mark.parametrize(
    ("sources", "to", "added"),
    [
        (["a.txt"], "/bin/x", {"usr/bin/x": "a"}),
        (["a.txt"], "/bin", {"usr/bin/a.txt": "a"}),
        (["a.txt"], "/var/run/", {"run/a.txt": "a"}),
        (["a.txt"], "/var/run/../x", {"x": "a"}),
        (["a.txt"], "/data/", {"mnt/data/a.txt": "a"}),
        (["a.txt"], "/data", {"mnt/data": "a"}),
        (["a.txt"], "/out/x", {"tmp/x": "a"}),
        (["a.txt"], "/file-link", {"usr/bin/tool": "a"}),
        (["a.txt"], "/usr/bin/tool", {"usr/bin/tool": "a"}),
        (["d"], "/app/d", below("app/d/", D)),
        (
            ["."],
            "/app",
            {
                **below("app/", {"a.txt": "a", "b.txt": "b", "to-a": "-> a.txt", "to-d": "-> /d"}),
                **below("app/d/", D),
            },
        ),
        (["d"], "/bin", below("usr/bin/", D)),
    ],
)
def test_targets_in_an_image(pool: Pool, sources: list[str], to: str, added: dict[str, str]) -> None:
    pool.files(context)
    pool.layer(image)
    before = pool.tree()
    pool.copy(*sources, to=to)
    assert pool.tree() == {
        **{k: v for k, v in before.items() if k != "run" or "run/a.txt" not in added},
        **added,
    }


def test_a_file_replaces_a_link_in_a_directory_that_is_merged(pool: Pool) -> None:
    pool.layer(lambda root: link(root / "app/f", "/etc/shadow"))
    pool.files(lambda root: file(root / "f", "new"))
    pool.copy(".", to="/app")
    assert pool.tree() == {"app/f": "new"}


@pytest.mark.parametrize(
    ("make", "sources", "to", "words"),
    [
        (lambda root: file(root / "t"), ["d"], "/t", "/t is not a directory"),
        (lambda root: file(root / "t"), ["a.txt"], "/t/", "/t is not a directory"),
        (lambda root: file(root / "t"), ["a.txt"], "/t/u/v", "/t: Not a directory"),
        (lambda root: link(root / "t", "f") and file(root / "f"), ["d"], "/t", "/f is not a directory"),
        (lambda root: link(root / "t/e", "/"), ["d"], "/t", "/t/e is not a directory, so no directory"),
        (lambda root: file(root / "t/e"), ["d"], "/t", "/t/e is not a directory, so no directory"),
        (lambda root: directory(root / "t/c.txt"), ["d"], "/t", "/t/c.txt is a directory, so no file"),
        (lambda root: directory(root / "t/a.txt"), ["a.txt"], "/t", "/t/a.txt is a directory, so no file"),
        (lambda root: link(root / "t", "t"), ["a.txt"], "/t/x", "/t/x: Too many levels of symbolic links"),
        (nothing, ["a.txt"], "/" + "n" * 256, "File name too long"),
        (nothing, ["a.txt"], "/a\0b", "Invalid argument"),
        (nothing, ["*["], "/t", "pattern"),
    ],
)
def test_what_does_not_go_together(pool: Pool, make: Make, sources: list[str], to: str, words: str) -> None:
    pool.files(context)
    pool.layer(make)
    check_refused(pool, lambda: pool.copy(*sources, to=to), Code.INVALID_ARGUMENT, words)


def check_refused(pool: Pool, copy: Callable[[], Layer], code: Code, words: str) -> None:
    """An error, of which nothing is left."""
    before = layers.names(pool.path)
    with pytest.raises(BermError) as caught:
        copy()
    assert words in str(caught.value)
    assert caught.value.code is code
    assert str(pool.path) not in str(caught.value)
    assert layers.names(pool.path) == before
    assert pool.left_over() == []


@pytest.mark.parametrize(
    ("sources", "owner", "words"),
    [
        (["nope"], "", "nope is not in what is copied from"),
        (["a.txt", "d/nope"], "", "d/nope is not in what is copied from"),
        (["no*"], "", "no file matches no*"),
        (["a.txt"], "nobody", "no user 'nobody'"),
        (["a.txt"], "0:nobody", "no group 'nobody'"),
    ],
)
def test_what_is_not_there(pool: Pool, sources: list[str], owner: str, words: str) -> None:
    pool.files(context)
    check_refused(pool, lambda: pool.copy(*sources, to="/t/", owner=owner), Code.NOT_FOUND, words)


def test_files_that_were_never_received(pool: Pool) -> None:
    check_refused(pool, lambda: pool.copy("a", to="/t"), Code.NOT_FOUND, "no files were received as")


def test_two_sources_that_do_not_go_together(pool: Pool) -> None:
    pool.files(lambda root: file(root / "one/x") and file(root / "two/x/y"))
    words = "/t/x is not a directory, so no directory"
    check_refused(pool, lambda: pool.copy("one", "two", to="/t"), Code.INVALID_ARGUMENT, words)
    words = "/t/x is a directory, so no file"
    check_refused(pool, lambda: pool.copy("two", "one", to="/t"), Code.INVALID_ARGUMENT, words)


def test_owners_and_permissions(pool: Pool) -> None:
    def make(root: Path) -> None:
        file(root / "d/set", "x", 0o6755)
        directory(root / "d/private", mode=0o2700)
        link(root / "d/link", "set")

    pool.files(make)
    pool.layer(lambda root: file(root / "etc/passwd", "node:x:1000:1001::/:/bin/sh\n"))
    pool.copy("d", to="/one/two", owner="node")
    found = {path: pool.look(path) for path in ("one", "one/two", "one/two/set", "one/two/private")}
    assert found == {
        "one": (0o755, 0, 0),
        "one/two": (0o755, 1000, 1001),
        "one/two/set": (0o6755, 1000, 1001),
        "one/two/private": (0o2700, 1000, 1001),
    }
    assert pool.look("one/two/link")[1:] == (1000, 1001)


def test_a_mode_for_all(pool: Pool) -> None:
    pool.files(context)
    pool.copy("d", to="/t", mode=0o710)
    assert {pool.look(path)[0] for path in ("t/c.txt", "t/e", "t/e/f.txt")} == {0o710}
    assert pool.look("t") == (0o755, 0, 0)


def test_parents_stay_as_they_are(pool: Pool) -> None:
    def make(root: Path) -> None:
        directory(root / "home", mode=0o711)
        user = directory(root / "home/user", mode=0o1770)
        os.chown(user, 1000, 50)
        os.setxattr(user, "user.note", b"kept")
        os.utime(user, (5, 6))
        root.chmod(0o751)

    pool.files(context)
    pool.layer(make)
    pool.copy("a.txt", to="/home/user/")
    assert [pool.look(path) for path in ("", "home", "home/user")] == [
        (0o751, 0, 0),
        (0o711, 0, 0),
        (0o1770, 1000, 50),
    ]
    top = pool.top() / "home/user"
    assert os.getxattr(top, "user.note") == b"kept"
    assert top.stat().st_mtime == 6


def test_a_layer_holds_only_what_is_new(pool: Pool) -> None:
    pool.files(context)
    pool.layer(image)
    layer = pool.copy("a.txt", "b.txt", to="/app/")
    assert sorted(str(path.relative_to(pool.top())) for path in pool.top().rglob("*")) == [
        "app",
        "app/a.txt",
        "app/b.txt",
    ]
    assert layer.size == 2


def test_from_layers(pool: Pool) -> None:
    def bottom(root: Path) -> None:
        file(root / "d/gone", "gone")
        file(root / "d/kept", "kept", 0o4755)
        file(root / "d/sub/hidden", "hidden")
        os.link(root / "d/kept", root / "d/twin")

    def top(root: Path) -> None:
        whiteout(root / "d/gone")
        directory(root / "d/sub", opaque=b"y")
        file(root / "d/sub/new", "new")
        link(root / "d/escape", "/../../../etc/passwd")
        link(root / "way", "/d/sub")

    source = (pool.layer(bottom, "one"), pool.layer(top, "two"))
    layer = pool.copy_layers("d", "way/new", to="/t/", layers=source)
    assert pool.tree() == {
        "t/kept": "kept",
        "t/twin": "kept",
        "t/sub/new": "new",
        "t/escape": "-> /../../../etc/passwd",
        "t/new": "new",
    }
    assert pool.look("t/kept") == (0o4755, 0, 0)
    assert (pool.top() / "t/kept").samefile(pool.top() / "t/twin")
    assert os.listxattr(pool.top() / "t/sub") == []
    assert layer.size == len("kept" + "new" + "new")


@pytest.mark.parametrize(("owner", "found"), [("", (1000, 42)), ("7:8", (7, 8))])
def test_owners_from_layers_are_kept_unless_one_is_chosen(
    pool: Pool, owner: str, found: tuple[int, int]
) -> None:
    source = pool.layer(lambda root: os.chown(file(root / "d/x"), 1000, 42), "one")
    pool.copy_layers("d/x", to="/x", layers=(source,), owner=owner)
    assert pool.look("x")[1:] == found


def test_a_whole_image(pool: Pool) -> None:
    source = pool.layer(image, "one")
    pool.copy_layers("/", to="/", layers=(source,))
    flat = pool.tree()
    pool.chain = [source]
    assert flat == pool.tree()


def test_attributes(pool: Pool) -> None:
    def make(root: Path) -> None:
        file(root / "f", "x", note=b"kept", overlay__origin=b"dropped")
        os.setxattr(root / "f", "security.capability", bytes.fromhex("0100000200040000" + "00" * 12))
        os.setxattr(root / "f", "trusted.mark", b"dropped")

    pool.copy_layers("f", to="/f", layers=(pool.layer(make, "one"),))
    assert os.listxattr(pool.top() / "f") == ["user.note"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (os.mkfifo, "/d/x is a named pipe"),
        (lambda path: os.mknod(path, 0o020600, os.makedev(1, 3)), "/d/x is a device"),
        (lambda path: os.mknod(path, 0o060600, os.makedev(7, 0)), "/d/x is a device"),
        (lambda path: socket.socket(socket.AF_UNIX).bind(str(path)), "/d/x is a socket"),
    ],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_what_is_no_file(pool: Pool, make: Make, words: str) -> None:
    source = pool.layer(lambda root: make(directory(root / "d") / "x"), "one")
    copy = lambda: pool.copy_layers("d", to="/t", layers=(source,))  # noqa: E731
    check_refused(pool, copy, Code.INVALID_ARGUMENT, words)


def test_what_an_image_redirects_is_refused(pool: Pool) -> None:
    def top(root: Path) -> None:
        os.setxattr(directory(root / "d"), "user.overlay.redirect", b"/secret")

    source = (pool.layer(lambda root: file(root / "d/x"), "one"), pool.layer(top, "two"))
    copy = lambda: pool.copy_layers("d", to="/t", layers=source)  # noqa: E731
    check_refused(pool, copy, Code.INVALID_ARGUMENT, "/d: Operation not permitted")


def test_an_uploaded_tree_is_no_layer(pool: Pool) -> None:
    """What would be a whiteout in a layer is a file in it, and none in what is made of it."""
    pool.files(lambda root: hidden(root / "d/x"))
    pool.copy("d", to="/t")
    assert pool.tree() == {"t/x": ""}


def test_inline_files(pool: Pool) -> None:
    pool.copy_inline(Inline("EOF", "text\n"), to="/etc/motd")
    pool.copy_inline(Inline("one", "1"), Inline("two", "zwei ü"), to="/d/")
    assert pool.tree() == {"etc/motd": "text\n", "d/one": "1", "d/two": "zwei ü"}
    assert pool.look("etc/motd") == (0o644, 0, 0)
    assert pool.left_over() == []


@pytest.mark.parametrize("name", ["../x", "", "..", "a/b", "a\0b"])
def test_an_inline_file_has_a_plain_name(pool: Pool, name: str) -> None:
    check_refused(pool, lambda: pool.copy_inline(Inline(name, "x"), to="/t/"), Code.INVALID_ARGUMENT, "name")


def test_names_that_are_not_text(pool: Pool) -> None:
    name = os.fsdecode(b"\xff\xfe \n")
    pool.files(lambda root: file(root / f"d{name}/f{name}", "x"))
    pool.copy(f"d{name}", to=f"/t{name}")
    assert pool.tree() == {f"t{name}/f{name}": "x"}


def test_directories(pool: Pool) -> None:
    pool.layer(image)
    assert pool.directory("/usr/bin") == Layer("", 0)
    assert pool.directory("/var/run/") == Layer("", 0)
    assert pool.directory("/data/a/b", owner="7:8").name
    assert [pool.look(path) for path in ("mnt", "mnt/data/a/b")] == [(0o755, 7, 8)] * 2
    words = "/usr/bin/tool is not a directory"
    check_refused(pool, lambda: pool.directory("/usr/bin/tool"), Code.INVALID_ARGUMENT, words)


def test_times_are_kept(pool: Pool) -> None:
    def make(root: Path) -> None:
        for path in (file(root / "d/e/f", "x"), root / "d/e"):
            os.utime(path, (100, 200))

    pool.files(make)
    pool.copy("d", to="/t")
    assert [(pool.top() / path).stat().st_mtime for path in ("t/e/f", "t/e")] == [200, 200]


def test_holes_stay_holes(pool: Pool) -> None:
    def make(root: Path) -> None:
        with file(root / "sparse").open("wb") as sparse:
            sparse.write(b"begin")
            sparse.seek(1 << 30)
            sparse.write(b"middle")
            sparse.truncate(1 << 40)

    pool.files(make)
    layer = pool.copy("sparse", to="/t")
    status = (pool.top() / "t").stat()
    assert (status.st_size, status.st_blocks * 512 < 1 << 20) == (1 << 40, True)
    assert layer.size < 1 << 20
    with (pool.top() / "t").open("rb") as copied:
        assert copied.read(6) == b"begin\0"
        copied.seek(1 << 30)
        assert copied.read(7) == b"middle\0"


async def test_cancelling_leaves_nothing(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    pool.files(context)
    at_work, cancelled = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def copy_content(source: int, target: int, size: int, check: Check) -> None:
        loop.call_soon_threadsafe(at_work.set)
        asyncio.run_coroutine_threadsafe(cancelled.wait(), loop).result()
        check()

    monkeypatch.setattr(draft, "copy_content", copy_content)
    work = Copying(Copy((".",), "/t", files_hash=HASH), (), (), FILES)
    task = asyncio.create_task(copying.copy(pool.path, work, LIMITS, ignore))
    await at_work.wait()
    task.cancel()
    loop.call_later(0, cancelled.set)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert layers.names(pool.path) == frozenset()
    assert pool.left_over() == []


def test_received_files_are_marked_as_used(pool: Pool) -> None:
    pool.files(context)
    os.utime(uploads.path(pool.path, FILES), (1, 1))
    pool.copy("a.txt", to="/t")
    assert uploads.last_uses(pool.path)[FILES] > 1


def archive(*members: Member) -> Make:
    """A received file `a.tgz` of a few members, and one that is no archive."""

    def make(root: Path) -> None:
        (root / "a.tgz").write_bytes(gzip.compress(tar(members)))
        file(root / "text.gz", "no archive")

    return make


def test_archives_are_unpacked(pool: Pool) -> None:
    pool.files(archive(tarred("d/f", b"f", 0o4755, (1000, 42)), tarred("g", b"g", owner=(1 << 20, 0))))
    pool.unpack("a.tgz", "text.gz", to="/t/")
    assert pool.tree() == {"t/d/f": "f", "t/g": "g", "t/text.gz": "no archive"}
    assert pool.look("t/d/f") == (0o4755, 1000, 42)
    assert pool.look("t/g") == (0o644, 0, 0), "no sandbox has such an id"
    assert pool.left_over() == []


def test_archives_are_unpacked_for_an_owner(pool: Pool) -> None:
    pool.files(archive(tarred("f", b"f", owner=(1000, 42))))
    pool.unpack("a.tgz", to="/t", owner="7:8")
    assert pool.look("t/f") == (0o644, 7, 8)


def test_an_archive_is_copied_as_it_is_unless_it_is_to_be_unpacked(pool: Pool) -> None:
    pool.files(archive(tarred("f")))
    pool.copy("a.tgz", to="/t")
    assert (pool.top() / "t").read_bytes()[:2] == b"\x1f\x8b"


@pytest.mark.parametrize(
    ("members", "code", "words"),
    [
        ([symlink("up", "/etc"), tarred("up/x")], Code.INVALID_ARGUMENT, "the archive cannot be unpacked"),
        ([tarred("big", bytes(20000))], Code.TOO_LARGE, "unpacks to more than is allowed"),
        ([tarred("usr/bin/tool/x")], Code.INVALID_ARGUMENT, "/usr/bin/tool is not a directory"),
    ],
)
def test_archives_that_cannot_be_unpacked(pool: Pool, members: list[Member], code: Code, words: str) -> None:
    pool.layer(image)
    pool.files(archive(*members))
    action = Copy(("a.tgz",), "/", files_hash=HASH, unpack=True)
    # The end of an archive alone takes 10 KiB.
    check_refused(pool, lambda: pool.run(action, limits=Limits(12000)), code, words)


def test_what_is_too_deep_for_a_path(pool: Pool) -> None:
    def make(root: Path) -> None:
        directory(root / "d")
        fd = os.open(root / "d", os.O_PATH)
        for _ in range(30):
            os.mkdir("n" * 200, dir_fd=fd)
            below = os.open("n" * 200, os.O_PATH, dir_fd=fd)
            os.close(fd)
            fd = below
        os.close(fd)

    source = pool.layer(make, "one")
    copy = lambda: pool.copy_layers("d", to="/t", layers=(source,))  # noqa: E731
    check_refused(pool, copy, Code.INVALID_ARGUMENT, "...: File name too long")


def test_more_files_than_there_is_memory_for(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draft, "MOST", 5)
    pool.files(context)
    check_refused(pool, lambda: pool.copy(".", to="/t"), Code.TOO_LARGE, "more than 5 files")


# --exclude, --parents, --chmod in symbols


@pytest.mark.parametrize(
    ("sources", "exclude", "expected"),
    [
        (["."], ("d", "to-*", "b.txt"), {"new/a.txt": "a"}),
        (["."], ("**/*.txt", "**/to-*"), {"new/d/inner": "-> ../a.txt", "new/d/e": "/"}),
        (["d"], ("d", "d/e"), below("new/", D)),
        (["d"], ("e",), {"new/c.txt": "c", "new/inner": "-> ../a.txt"}),
        (["d/*"], ("e", "inner"), {"new/c.txt": "c"}),
        (["*.txt"], ("b.*",), {"new/a.txt": "a"}),
        (["a.txt", "b.txt"], ("b.*",), {"new/a.txt": "a"}),
        (["to-a"], ("a.txt",), {"new/to-a": "a"}),
    ],
)
@pytest.mark.parametrize("from_layer", [True, False])
def test_what_is_left_out(
    pool: Pool, sources: list[str], exclude: tuple[str, ...], expected: dict[str, str], from_layer: bool
) -> None:
    pool.copy_some(context, Copy(tuple(sources), "/new/", exclude=exclude), from_layer)
    assert pool.tree() == expected


@pytest.mark.parametrize("source", ["gone.txt", "gone*", "a.txt"])
def test_files_of_which_all_are_left_out_leave_nothing(pool: Pool, source: str) -> None:
    """What the client left out was never sent."""
    pool.files(context)
    assert not pool.run(Copy((source,), "/new", files_hash=HASH, exclude=("**",))).name


def test_what_is_not_in_a_stage_is_missed(pool: Pool) -> None:
    with pytest.raises(BermError, match=r"gone\.txt is not in what is copied from"):
        pool.copy_some(context, Copy(("gone.txt",), "/new", exclude=("gone*",)), from_layer=True)


@pytest.mark.parametrize(
    ("sources", "exclude", "expected"),
    [
        (["a.txt", "d/e/f.txt"], (), {"new/a.txt": "a", "new/d/e/f.txt": "f"}),
        (["d/./e/f.txt"], (), {"new/e/f.txt": "f"}),
        (["d/e/./f.txt"], (), {"new/f.txt": "f"}),
        (["d"], (), below("new/d/", D)),
        (["d/./."], (), below("new/", D)),
        (["."], ("d", "to-*"), {"new/a.txt": "a", "new/b.txt": "b"}),
        (["**/*.txt"], (), {f"new/{name}": name[-5] for name in ("a.txt", "b.txt", "d/c.txt", "d/e/f.txt")}),
        (["d/./**/*.txt"], ("e",), {"new/c.txt": "c"}),
        (["d/e", "d/c.txt"], (), {"new/d/e/f.txt": "f", "new/d/c.txt": "c"}),
        (["*/e"], (), {"new/d/e/f.txt": "f"}),
        (["d"], ("d/e", "d/inner"), {"new/d/c.txt": "c"}),
        (["d/./e"], ("d/e",), {"new/e/f.txt": "f"}),
    ],
)
@pytest.mark.parametrize("from_layer", [True, False])
def test_sources_that_keep_their_paths(
    pool: Pool, sources: list[str], exclude: tuple[str, ...], expected: dict[str, str], from_layer: bool
) -> None:
    pool.copy_some(context, Copy(tuple(sources), "/new", exclude=exclude, parents=True), from_layer)
    assert pool.tree() == expected


def test_directories_that_are_kept_look_like_those_of_the_source(pool: Pool) -> None:
    def make(root: Path) -> None:
        file(root / "a/b/f", "f")
        (root / "a").chmod(0o700)
        os.chown(root / "a/b", 33, 44)

    pool.copy_some(make, Copy(("a/b/f",), "/new", parents=True), from_layer=True)
    assert (pool.look("new"), pool.look("new/a"), pool.look("new/a/b")) == (
        (0o755, 0, 0),
        (0o700, 0, 0),
        (0o755, 33, 44),
    )
    pool.run(Copy(("a/b/f",), "/mine", base=Base("stage", "0"), owner="7:8", parents=True), ("source",))
    assert (pool.look("mine/a"), pool.look("mine/a/b")) == ((0o700, 7, 8), (0o755, 7, 8))


def test_links_on_the_way_are_followed_in_the_source_only(pool: Pool) -> None:
    pool.layer(image)
    pool.copy_some(image, Copy(("bin/tool", "out/../run"), "/new", parents=True), from_layer=True)
    found = {name: content for name, content in pool.tree().items() if name.startswith("new")}
    assert found == {"new/bin/tool": "old", "new/run": "/"}


@pytest.mark.parametrize(
    ("mode", "chmod", "expected"),
    [
        (None, "u=rwX,go=rX", {"new/run": 0o755, "new/text": 0o644, "new/d": 0o755, "new/d/in": 0o644}),
        (None, "go-rwx", {"new/run": 0o700, "new/text": 0o600, "new/d": 0o700, "new/d/in": 0o600}),
        (0o600, "g=u", {"new/run": 0o660, "new/text": 0o660, "new/d": 0o660, "new/d/in": 0o660}),
    ],
)
@pytest.mark.parametrize("from_layer", [True, False])
def test_permissions_in_symbols(
    pool: Pool, mode: int | None, chmod: str, expected: dict[str, int], from_layer: bool
) -> None:
    def make(root: Path) -> None:
        for name, bits in (("run", 0o775), ("text", 0o664), ("d/in", 0o666)):
            file(root / name, "x").chmod(bits)
        (root / "d").chmod(0o777)

    pool.copy_some(make, Copy((".",), "/new", mode=mode, chmod=chmod), from_layer)
    assert {name: pool.look(name)[0] for name in expected} == expected
