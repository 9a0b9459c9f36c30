"""What is in a volume, acted on from the host: the trees here are what a sandbox could have made of them."""

import asyncio
import ctypes
import fcntl
import os
import signal
import socket
import stat
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from berm.errors import BermError, Code
from berm.models import VolumeEntry
from berm.node import trees
from berm.node.interface import Attributes
from berm.node.volumes import Content, Volumes
from tests.node.sandboxes import refused

pytestmark = pytest.mark.root

SIZE = 64 << 20
AS_USUAL = Attributes()


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    (tmp_path / "pool").mkdir()
    (tmp_path / "secret").write_text("of the host\n")
    return tmp_path / "pool"


@pytest.fixture
async def content(pool: Path) -> Content:
    volumes = Volumes(pool, SIZE)
    await volumes.make("one")
    return volumes.content("one")


@pytest.fixture
def tree(pool: Path, content: Content) -> Path:
    """The volume as a sandbox has it."""
    return pool / "volumes/one/tree"


async def body(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def put(content: Content, path: str, data: bytes, **options: bool) -> VolumeEntry:
    return await content.write(path, body(data), AS_USUAL, force=options.get("force"))


async def got(content: Content, path: str) -> bytes:
    file = await content.open(path)
    try:
        return await file.read(0, file.size)
    finally:
        file.close()


async def listed(content: Content, path: str = "/", depth: int = 1) -> list[str]:
    return [entry.path for entry in await content.list(path, depth)]


def aside(tree: Path) -> list[Path]:
    """What is neither in the tree nor gone."""
    return [*tree.parent.glob("coming/*"), *tree.parent.glob("going/*")]


def seen(host: Path) -> tuple[object, ...]:
    """What nothing in a volume may change."""
    secret = host / "secret"
    look = secret.stat()
    names = sorted(path.name for path in host.iterdir())
    return secret.read_text(), look.st_mode, look.st_uid, look.st_ctime_ns, names


async def test_a_new_volume_is_empty_and_anybody_may_write_to_it(content: Content) -> None:
    assert await listed(content) == []
    root = await content.look("/")
    assert (root.path, root.kind, root.uid, root.gid, root.mode) == ("/", "directory", 1000, 1000, 0o777)


async def test_a_file_is_written_read_and_replaced(content: Content, tree: Path) -> None:
    made = await content.write("a", body(b"he", b"llo"), AS_USUAL, force=None)
    assert (made.path, made.kind, made.size, made.mode, made.uid, made.gid) == (
        "/a",
        "file",
        5,
        0o644,
        1000,
        1000,
    )
    assert await got(content, "/a") == b"hello"
    os.chown(tree / "a", 5, 6)
    (tree / "a").chmod(0o600)
    replaced = await put(content, "//a/.", b"more")
    assert (replaced.size, replaced.mode, replaced.uid, replaced.gid) == (4, 0o600, 5, 6)
    wanted = await content.write("a", body(), Attributes(7, 8, 0o4755), force=True)
    assert (wanted.size, wanted.mode, wanted.uid, wanted.gid) == (0, 0o4755, 7, 8)
    assert aside(tree) == []


async def test_a_file_that_is_there_is_kept_without_force(content: Content, tree: Path) -> None:
    await put(content, "a", b"first", force=False)
    with refused(Code.CONFLICT, "/a exists"):
        await put(content, "a", b"second", force=False)
    assert await got(content, "a") == b"first"

    async def meanwhile() -> AsyncIterator[bytes]:
        yield b"mine"
        (tree / "b").write_text("theirs")

    with refused(Code.CONFLICT, "/b exists"):
        await content.write("b", meanwhile(), AS_USUAL, force=False)
    assert (tree / "b").read_text() == "theirs"
    assert aside(tree) == []


async def test_directories_above_a_file_are_made_with_force_only(content: Content) -> None:
    with refused(Code.NOT_FOUND, "/a/b/c: No such file"):
        await put(content, "a/b/c", b"x")
    await put(content, "a/b/c", b"x", force=True)
    assert [(entry.path, entry.mode, entry.uid) for entry in await content.list("/", 3)] == [
        ("/a", 0o755, 1000),
        ("/a/b", 0o755, 1000),
        ("/a/b/c", 0o644, 1000),
    ]


async def test_what_breaks_off_leaves_what_was_there(content: Content, tree: Path) -> None:
    await put(content, "a", b"whole")

    async def broken() -> AsyncIterator[bytes]:
        yield b"half" * 1_000_000
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await content.write("a", broken(), AS_USUAL, force=None)
    assert await got(content, "a") == b"whole"
    assert aside(tree) == []


async def test_more_than_a_volume_holds_is_refused(pool: Path) -> None:
    volumes = Volumes(pool, 3_000_000)
    await volumes.make("small")
    with refused(Code.NO_SPACE, "a volume holds 3000000 bytes"):
        await volumes.content("small").write("a", body(*[bytes(1_000_000)] * 4), AS_USUAL, force=None)
    assert await listed(volumes.content("small")) == []


async def test_directories(content: Content) -> None:
    made = await content.make_directory("a", Attributes(1, 2, 0o700), force=False)
    assert (made.path, made.kind, made.uid, made.gid, made.mode) == ("/a", "directory", 1, 2, 0o700)
    with refused(Code.CONFLICT, "/a: File exists"):
        await content.make_directory("/a/", AS_USUAL, force=False)
    with refused(Code.NOT_FOUND, "/b/c"):
        await content.make_directory("b/c", AS_USUAL, force=False)
    deep = await content.make_directory("b/c/d", Attributes(mode=0o711), force=True)
    assert (deep.path, deep.mode, (await content.look("b/c")).mode) == ("/b/c/d", 0o711, 0o755)
    assert (await content.make_directory("a", Attributes(9, 9), force=True)).uid == 1
    with refused(Code.CONFLICT, "the volume itself"):
        await content.make_directory("..", AS_USUAL, force=True)
    await put(content, "file", b"")
    for path in ("file", "file/x", "file/x/y"):
        with pytest.raises(BermError) as failure:
            await content.make_directory(path, AS_USUAL, force=True)
        assert failure.value.code in (Code.CONFLICT, Code.NOT_FOUND)


async def test_a_listing_goes_as_deep_as_is_wanted(content: Content, tree: Path) -> None:
    (tree / "b/c/d").mkdir(parents=True)
    (tree / "a").touch()
    (tree / "b/link").symlink_to("c")
    assert await listed(content) == ["/a", "/b"]
    assert await listed(content, "b") == ["/b/c", "/b/link"]
    assert await listed(content, depth=2) == ["/a", "/b", "/b/c", "/b/link"]
    assert await listed(content, depth=1 << 31) == ["/a", "/b", "/b/c", "/b/c/d", "/b/link"]
    assert await listed(content, "b/link") == ["/b/link/d"]
    with refused(Code.INVALID_ARGUMENT, "/a is no directory"):
        await listed(content, "a")
    with refused(Code.NOT_FOUND, "/x: No such file"):
        await listed(content, "x")


async def test_owner_and_mode_are_changed(content: Content, tree: Path) -> None:
    (tree / "a").touch()
    (tree / "link").symlink_to("a")
    assert (await content.change("a", Attributes(mode=0o4711))).mode == 0o4711
    changed = await content.change("link", Attributes(uid=65535))
    assert (changed.kind, changed.uid, changed.gid) == ("file", 65535, 0)
    assert (await content.change("/", Attributes(mode=0o700))).mode == 0o700
    with refused(Code.NOT_FOUND, "/x"):
        await content.change("x", AS_USUAL)


async def test_removal(content: Content, tree: Path) -> None:
    (tree / "d/e/f").mkdir(parents=True)
    (tree / "d/file").touch()
    (tree / "link").symlink_to("d")
    os.mkfifo(tree / "pipe")
    for path in ("link", "pipe", "d"):
        await content.remove(path)
    assert await listed(content) == []
    assert aside(tree) == []
    for path in ("d", "d/x"):
        with refused(Code.NOT_FOUND, "No such file"):
            await content.remove(path)
    with refused(Code.CONFLICT, "the volume itself"):
        await content.remove("/d/..")


@pytest.mark.parametrize("path", ["", "a\0b"])
async def test_a_path_that_is_none(content: Content, path: str) -> None:
    with refused(Code.INVALID_ARGUMENT, "path is"):
        await content.look(path)
    with refused(Code.INVALID_ARGUMENT, "path is"):
        await content.remove(path)


@pytest.fixture(
    params=["{}/secret", "../../../../secret", "/proc/1/root{}/secret", "/proc/self/root{}/secret"]
)
def link(request: pytest.FixtureRequest, pool: Path, tree: Path) -> Path:
    """A link out of the volume, to a file or by `up` to the directory that it is in."""
    target = str(request.param).format(pool.parent)
    (tree / "out").symlink_to(target)
    (tree / "up").symlink_to(os.path.dirname(target))  # noqa: PTH120 - ".." has to stay
    return tree / "out"


async def test_no_link_leads_out(content: Content, pool: Path, link: Path) -> None:
    host = pool.parent
    before = seen(host)
    assert (await content.look("out")).target == str(link.readlink())
    for path in ("out", "up/secret"):
        with pytest.raises(BermError):
            await content.open(path)
        with pytest.raises(BermError):
            await content.change(path, Attributes(1, 1, 0o777))
    with pytest.raises(BermError):
        await content.remove("up/secret")
    # A link to far above leads to the root of the volume.
    with suppress(BermError):
        await content.make_directory("up/new", AS_USUAL, force=True)
    with suppress(BermError):
        await put(content, "up/secret", b"mine", force=True)
    await put(content, "out", b"in place of the link")
    assert link.read_text() == "in place of the link"
    await content.remove("up")
    assert seen(host) == before


async def test_a_link_within_is_followed_within(content: Content, tree: Path) -> None:
    (tree / "etc").mkdir()
    (tree / "etc/passwd").write_text("of the volume")
    (tree / "link").symlink_to("/etc")
    (tree / "etc/up").symlink_to("../../../../etc/passwd")
    assert await got(content, "link/passwd") == b"of the volume"
    assert await got(content, "link/up") == b"of the volume"
    assert await got(content, "../../etc/passwd") == b"of the volume"
    assert (await content.look("link")).target == "/etc"


async def test_what_is_no_file_is_never_opened(content: Content, tree: Path) -> None:
    os.mkfifo(tree / "pipe")
    os.mknod(tree / "device", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tree / "socket"))
    for name in ("pipe", "device", "socket", "."):
        with refused(Code.INVALID_ARGUMENT, "is no file that can be read"):
            await content.open(name)
    assert {entry.kind for entry in await content.list("/", 2)} == {"unknown"}
    with refused(Code.INVALID_ARGUMENT, "/pipe is no directory"):
        await content.list("pipe", 1)
    assert (await content.change("pipe", Attributes(mode=0o600))).mode == 0o600
    await put(content, "pipe", b"file now")
    assert await got(content, "pipe") == b"file now"


async def test_a_lease_keeps_nobody_waiting(content: Content, tree: Path) -> None:
    (tree / "a").write_text("leased")
    # The signal of a broken lease would end this process.
    with (tree / "a").open("r+") as holder, ignoring_sigio():
        fcntl.fcntl(holder, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        with refused(Code.UNAVAILABLE, "/a: Resource temporarily unavailable"):
            await content.open("a")
    assert await got(content, "a") == b"leased"


@contextmanager
def ignoring_sigio() -> Iterator[None]:
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGIO, before)


async def test_names_need_not_be_text(content: Content, tree: Path) -> None:
    raw = os.fsencode(tree) + b"/\xff\n"
    os.mkdir(raw)  # noqa: PTH102 - no Path has such a name
    name = os.fsdecode(b"/\xff\n")
    assert await listed(content) == [name]
    await put(content, f"{name}/\udcfe", b"x")
    assert os.listdir(raw) == [b"\xfe"]  # noqa: PTH208
    await content.remove(name)
    assert await listed(content) == []


async def test_times_that_no_calendar_has(content: Content, tree: Path) -> None:
    (tree / "old").touch()
    for seconds in (-(1 << 40), 1 << 40):
        os.utime(tree / "old", (seconds, seconds))
        found = await content.look("old")
        assert found.modified.timestamp() == pytest.approx((tree / "old").stat().st_mtime)


def test_every_time_is_an_instant() -> None:
    for seconds in (-(1 << 63), -1, 0, 1, (1 << 63) - 1):
        assert 1 <= trees.instant(seconds * 1_000_000_000 + 7000).year <= 9999
    assert trees.instant(1_500_000).microsecond == 1500


async def test_a_tree_deeper_than_a_path_can_be(content: Content, tree: Path) -> None:
    fd = os.open(tree, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d" * 10, dir_fd=fd)
        below = os.open("d" * 10, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    found = await listed(content, depth=1 << 31)
    assert 300 < len(found) < 400
    with refused(Code.INVALID_ARGUMENT, "File name too long"):
        await content.look("/".join(["d" * 10] * 1000))
    await content.remove("d" * 10)
    assert (await listed(content), aside(tree)) == ([], [])


async def test_a_path_of_very_many_names_is_made(content: Content) -> None:
    path = "/" + "/".join("a" * 2000)
    await content.make_directory(path, AS_USUAL, force=True)
    assert (await content.look(path)).kind == "directory"
    await content.remove("a")


async def test_a_listing_has_an_end(content: Content, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "MOST_LISTED", 20)
    for number in range(5):
        (tree / str(number)).mkdir()
        for below in range(3):
            (tree / f"{number}/{below}").touch()
    assert len(await listed(content, depth=2)) == 20
    (tree / "more").touch()
    with refused(Code.TOO_LARGE, "more than 20 entries"):
        await listed(content, depth=2)
    assert len(await listed(content)) == 6


async def test_the_names_in_a_listing_have_an_end(
    content: Content, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few entries may have long paths, and links may lead to such."""
    monkeypatch.setattr(trees, "MOST_CHARACTERS", 100)
    (tree / "a").mkdir()
    (tree / "a" / ("n" * 60)).touch()
    (tree / "link").symlink_to("t" * 40)
    assert len(await listed(content)) == 2
    assert len(await listed(content, "a")) == 1
    with refused(Code.TOO_LARGE, "more than 100 characters in its paths"):
        await listed(content, depth=2)
    (tree / "more").symlink_to("t" * 60)
    with refused(Code.TOO_LARGE, "list a directory further down"):
        await listed(content)


def exchange(first: Path, second: Path) -> None:
    """renameat2(2) with RENAME_EXCHANGE: there is no moment in which one of the names is missing."""
    names = [os.fsencode(path) for path in (first, second)]
    ctypes.CDLL(None).renameat2(-100, names[0], -100, names[1], 2)


@contextmanager
def swapping(tree: Path, first: str, second: str) -> Iterator[None]:
    """Exchange two names for as long as the block runs, as fast as can be."""
    over = threading.Event()

    def swap() -> None:
        while not over.is_set():
            exchange(tree / first, tree / second)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


RACED: dict[str, Callable[[Content], object]] = {
    "open": lambda content: got(content, "dir/secret"),
    "look": lambda content: content.look("dir/secret"),
    "change": lambda content: content.change("dir/secret", Attributes(4, 4, 0o666)),
    "write": lambda content: put(content, "dir/secret", b"mine"),
    "make": lambda content: content.make_directory("dir/new/er", AS_USUAL, force=True),
    "list": lambda content: content.list("/", 5),
    "remove": lambda content: content.remove("dir/secret"),
}


@pytest.mark.parametrize("call", RACED)
async def test_a_directory_that_becomes_a_link_meanwhile(
    content: Content, pool: Path, tree: Path, call: str
) -> None:
    """The same path is a directory at one moment and a link out of the volume at the next."""
    host = pool.parent
    before = seen(host)
    (tree / "dir").mkdir()
    (tree / "link").symlink_to("../../../..")
    with swapping(tree, "dir", "link"):
        for _ in range(300):
            (tree / "dir/secret").exists()
            with suppress(BermError):
                found = await RACED[call](content)  # type: ignore[misc]
                assert found != b"of the host\n"
                if isinstance(found, list):
                    assert not [entry for entry in found if entry.path.endswith("/pool")]
    assert seen(host) == before


async def test_who_is_in_a_removed_directory_finds_no_way_out(content: Content, tree: Path) -> None:
    """What is left of it is beside the tree, which no sandbox may see."""
    (tree / "d/e").mkdir(parents=True)
    inside = os.open(tree / "d/e", os.O_RDONLY)
    await content.remove("d")
    with pytest.raises(FileNotFoundError):
        os.mkdir("new", dir_fd=inside)
    os.close(inside)
    assert aside(tree) == []


async def test_volumes_come_and_go(pool: Path) -> None:
    volumes = Volumes(pool, SIZE)
    await volumes.sweep()
    assert list(volumes.names()) == []
    await volumes.make("one")
    await volumes.make("two")
    assert sorted(volumes.names()) == ["one", "two"]
    await put(volumes.content("one"), "a/b", b"x", force=True)
    await volumes.drop("one")
    await volumes.drop("one")
    assert list(volumes.names()) == ["two"]
    assert os.listdir(pool / "volumes") == ["two"]  # noqa: PTH208
    for attempt in (volumes.content("one").look("a"), put(volumes.content("one"), "a", b"")):
        with refused(Code.NOT_FOUND, "/a"):
            await attempt


async def test_what_a_killed_process_left_is_swept(pool: Path, content: Content, tree: Path) -> None:
    (pool / "volumes/.partial-x/tree").mkdir(parents=True)
    (tree.parent / "coming/half").write_text("half")
    (tree.parent / "going/rest/of/it").mkdir(parents=True)
    (tree / "kept").touch()
    await Volumes(pool, SIZE).sweep()
    assert os.listdir(pool / "volumes") == ["one"]  # noqa: PTH208
    assert (aside(tree), await listed(content)) == ([], ["/kept"])


async def test_a_volume_that_goes_during_an_upload(pool: Path, content: Content) -> None:
    going = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"first"
        await Volumes(pool, SIZE).drop("one")
        going.set()
        yield b"second"

    with refused(Code.NOT_FOUND, "/a"):
        await content.write("a", slow(), AS_USUAL, force=None)
    assert going.is_set()
