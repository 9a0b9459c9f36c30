"""Files as the SDK handles them: content, names, ownership, listings, watches, links with signatures."""

import asyncio
import hashlib
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import httpx
import pytest
from e2b import (
    AsyncSandbox,
    AuthenticationException,
    FileNotFoundException,
    FilesystemEvent,
    FilesystemEventType,
    FileType,
    InvalidArgumentException,
    Sandbox,
    WatchHandle,
)
from e2b.sandbox.filesystem.filesystem import WriteEntry

from tests.instance import Instance

MIB = 1 << 20
NAMES = (
    "two words",
    " edge ",
    "quote'\"`$(x)",
    "percent%20&a=b?c#d;e+f",
    "back\\slash",
    "line\nbreak",
    "-rf",
    "~tilde",
    "gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n \N{ROCKET}",
    "x" * 255,
    "...",
)


def at(name: str) -> str:
    """An absolute path, for names that a relative one would lend a meaning."""
    return f"/home/user/{name}"


def test_text_bytes_and_streams(sandbox: Sandbox) -> None:
    data = bytes(range(256)) * 40
    written = sandbox.files.write("data", data)
    assert (written.name, written.path) == ("data", at("data"))
    assert bytes(sandbox.files.read("data", format="bytes")) == data
    assert b"".join(sandbox.files.read("data", format="stream")) == data
    sandbox.files.write("text", "gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n\r\n")
    assert sandbox.files.read("text") == "gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n\r\n"


def test_an_empty_file(sandbox: Sandbox) -> None:
    sandbox.files.write("empty", "")
    assert sandbox.files.read("empty") == ""
    assert bytes(sandbox.files.read("empty", format="bytes")) == b""
    assert sandbox.files.get_info("empty").size == 0


def test_sixty_four_mebibytes_there_and_back(sandbox: Sandbox) -> None:
    data = os.urandom(MIB) * 64
    sandbox.files.write("large", data)
    assert sandbox.commands.run("sha256sum < large").stdout.split()[0] == hashlib.sha256(data).hexdigest()
    seen = hashlib.sha256()
    for piece in sandbox.files.read("large", format="stream"):
        seen.update(piece)
    assert seen.hexdigest() == hashlib.sha256(data).hexdigest()
    assert sandbox.files.get_info("large").size == len(data)


def test_compressed_on_the_way(sandbox: Sandbox) -> None:
    data = b"again and " * 100_000
    sandbox.files.write("plain", data, gzip=True)
    assert sandbox.commands.run("wc -c < plain").stdout.strip() == "1000000"
    assert bytes(sandbox.files.read("plain", format="bytes", gzip=True)) == data


def test_many_files_at_once(sandbox: Sandbox) -> None:
    files = [WriteEntry(path=f"many/{n % 7}/{n}", data=f"content {n}") for n in range(500)]
    written = sandbox.files.write_files(files)
    assert [entry.path for entry in written] == [at(str(entry["path"])) for entry in files]
    assert sandbox.commands.run("find many -type f | wc -l; cat many/3/3").stdout == "500\ncontent 3"
    assert len(sandbox.files.list("many", depth=2)) == 507
    assert sandbox.files.write_files([]) == []


@pytest.mark.parametrize("name", NAMES)
def test_unusual_names(sandbox: Sandbox, name: str) -> None:
    assert sandbox.files.write(at(name), name).path == at(name)
    assert sandbox.files.read(at(name)) == name
    assert [entry.name for entry in sandbox.files.list("/home/user") if entry.path == at(name)] == [name]
    assert sandbox.files.rename(at(name), at("dir/" + name)).path == at("dir/" + name)
    assert sandbox.commands.run("cat dir/* dir/.[!.]* dir/..?* 2>/dev/null || true").stdout == name
    sandbox.files.remove(at("dir/" + name))
    assert not sandbox.files.exists(at("dir/" + name))


# A form writes the others as `%22` and `%0A`, which is also how it writes those texts (HTML, 4.10.21.8).
@pytest.mark.parametrize("name", [name for name in NAMES if not {'"', "\n"} & set(name)])
def test_unusual_names_in_a_form(sandbox: Sandbox, name: str) -> None:
    sandbox.files.write_files([WriteEntry(path=at(name), data="a"), WriteEntry(path=at("plain"), data="b")])
    assert sandbox.files.read(at(name)) == "a"
    assert {entry.name for entry in sandbox.files.list("/home/user")} >= {name, "plain"}


def test_who_owns_what_is_written(sandbox: Sandbox) -> None:
    sandbox.files.write("a/b/mine", "x")
    sandbox.files.write("/etc/roots", "x", user="root")
    shown = sandbox.commands.run("stat -c '%U:%G %a' a a/b a/b/mine /etc/roots").stdout
    assert shown == "user:user 755\nuser:user 755\nuser:user 644\nroot:root 644\n"
    assert sandbox.files.write("~/x", "x", user="root").path == "/root/x"


def test_what_is_known_of_an_entry(sandbox: Sandbox) -> None:
    sandbox.commands.run("echo hello > file; chmod 4751 file; mkdir sub; ln -s file link; ln -s /no gone")
    info = sandbox.files.get_info("file")
    assert (info.name, info.path, info.type, info.size) == ("file", at("file"), FileType.FILE, 6)
    assert (info.owner, info.group, info.symlink_target) == ("user", "user", None)
    assert info.mode & 0o777 == 0o751
    assert abs((datetime.now(UTC) - info.modified_time.astimezone(UTC)).total_seconds()) < 3600
    assert sandbox.files.get_info("sub").type is FileType.DIR
    assert sandbox.files.get_info("link").symlink_target == at("file")
    assert sandbox.files.exists("gone")


def test_metadata_of_a_file(sandbox: Sandbox) -> None:
    assert sandbox.files.write("with", "x", metadata={"Key": "a value"}).metadata == {"key": "a value"}
    assert sandbox.files.get_info("with").metadata == {"key": "a value"}
    sandbox.files.write("with", "y")
    assert not sandbox.files.get_info("with").metadata


def test_directories(sandbox: Sandbox) -> None:
    assert sandbox.files.make_dir("a/b/c")
    assert not sandbox.files.make_dir("a/b/c")
    sandbox.files.write("a/file", "x")
    assert [entry.path for entry in sandbox.files.list("a", depth=3)] == [
        at("a/b"),
        at("a/b/c"),
        at("a/file"),
    ]
    assert [entry.name for entry in sandbox.files.list("a")] == ["b", "file"]
    sandbox.files.rename("a", "z/y")
    assert sandbox.files.read("z/y/file") == "x"
    sandbox.files.remove("z")
    assert not sandbox.files.exists("z")
    sandbox.files.remove("z")


def test_what_is_not_there(sandbox: Sandbox) -> None:
    for act in (
        lambda: sandbox.files.read("missing"),
        lambda: sandbox.files.get_info("missing"),
        lambda: sandbox.files.list("missing"),
        lambda: sandbox.files.rename("missing", "other"),
        lambda: sandbox.files.watch_dir("missing"),
    ):
        with pytest.raises(FileNotFoundException):
            act()
    assert not sandbox.files.exists("missing")


def test_what_is_of_the_wrong_kind(sandbox: Sandbox) -> None:
    sandbox.files.write("file", "x")
    for act in (
        lambda: sandbox.files.list("file"),
        lambda: sandbox.files.make_dir("file"),
        lambda: sandbox.files.watch_dir("file"),
        lambda: sandbox.files.read("/etc"),
        lambda: sandbox.files.write("/etc", "x"),
        lambda: sandbox.files.list("~other"),
        lambda: sandbox.files.list("/", depth=-1),
    ):
        with pytest.raises(InvalidArgumentException):
            act()


def test_what_is_no_regular_file(sandbox: Sandbox) -> None:
    """Neither endless nor waiting for the other end of a pipe."""
    sandbox.commands.run("mkfifo pipe; ln -s pipe link; ln -s loop loop")
    for path in ("/dev/zero", "pipe", "link", "loop"):
        with pytest.raises(InvalidArgumentException):
            sandbox.files.read(path)
        with pytest.raises(InvalidArgumentException):
            sandbox.files.write(path, "x")
    assert sandbox.files.read("/proc/self/status").startswith("Name:")


def test_a_directory_of_many(sandbox: Sandbox) -> None:
    sandbox.commands.run("mkdir many; cd many; seq 20000 | xargs touch")
    assert {entry.name for entry in sandbox.files.list("many")} == {str(n) for n in range(1, 20_001)}


def test_a_user_that_does_not_exist(sandbox: Sandbox) -> None:
    for act in (
        lambda: sandbox.files.read("x", user="nobody-here"),
        lambda: sandbox.files.write("x", "x", user="nobody-here"),
        lambda: sandbox.files.list("/", user="nobody-here"),
    ):
        with pytest.raises(AuthenticationException):
            act()


def addressed(sandbox: Sandbox, link: str) -> httpx.URL:
    """A link at the sandbox's own host name: E2B_SANDBOX_URL leaves the sandbox out of it."""
    return httpx.URL(link, host=sandbox.get_host(49983).partition(":")[0])


class Loopback(httpx.HTTPTransport):
    """Connects `*.localhost` to this machine, as browsers and curl do (RFC 6761, 6.3)."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.host.endswith(".localhost"):
            request.url = request.url.copy_with(host="127.0.0.1")
        return super().handle_request(request)


@pytest.fixture
def browser() -> Iterator[httpx.Client]:
    with httpx.Client(transport=Loopback()) as client:
        yield client


def test_links_that_need_no_key(sandbox: Sandbox, browser: httpx.Client) -> None:
    sandbox.files.write("file", "content")
    assert browser.get(addressed(sandbox, sandbox.download_url("file"))).text == "content"
    upload = sandbox.upload_url("fresh", use_signature_expiration=60)
    assert browser.post(addressed(sandbox, upload), files={"file": ("any", b"sent")}).status_code == 200
    assert sandbox.files.read("fresh") == "sent"


def test_links_without_a_sandbox_find_theirs(create: Callable[..., Sandbox], berm: Instance) -> None:
    """One address serves all sandboxes, so only the signature tells which one is meant."""
    one, two = create(), create()
    for sandbox, content in ((one, "of one"), (two, "of two")):
        sandbox.files.write("file", content)
        assert httpx.get(sandbox.download_url("file")).text == content
    assert httpx.post(one.upload_url("sent"), files={"file": ("any", b"up")}).status_code == 200
    assert one.files.read("sent") == "up"
    over = httpx.get(two.download_url("file", use_signature_expiration=-60))
    assert (over.status_code, over.json()["message"]) == (401, "signature is already expired")
    link = two.download_url("file")
    assert httpx.get(httpx.URL(link).copy_set_param("path", "/etc/shadow")).status_code == 401
    berm.kill_server()
    berm.berm("up")
    assert httpx.get(link).text == "of two"
    two.kill()
    assert httpx.get(link).status_code == 401


def test_links_that_are_refused(sandbox: Sandbox, browser: httpx.Client) -> None:
    sandbox.files.write("file", "content")
    link = addressed(sandbox, sandbox.download_url("file"))
    for url in (
        link.copy_remove_param("signature"),
        link.copy_set_param("path", "/etc/shadow"),
        link.copy_set_param("signature", "v1_" + "A" * 43),
        link.copy_set_param("username", "root"),
        addressed(sandbox, sandbox.download_url("file", use_signature_expiration=-60)),
    ):
        refused = browser.get(url)
        assert refused.status_code == 401, url
        assert refused.json()["code"] == 401
    assert browser.post(link, files={"file": ("any", b"sent")}).status_code == 401


def seen(watch: WatchHandle, last: str) -> list[tuple[str, FilesystemEventType]]:
    """Events up to those of `last`, each once in a row."""
    events: list[tuple[str, FilesystemEventType]] = []
    while not any(name == last for name, _ in events):
        events += [(event.name, event.type) for event in watch.get_new_events()]
    return events


def test_a_watch_sees_what_happens(sandbox: Sandbox) -> None:
    sandbox.commands.run("mkdir -p watched/sub; echo > watched/old")
    watch = sandbox.files.watch_dir("watched")
    sandbox.commands.run("cd watched; echo x > new; echo y >> old; chmod 600 old; mv new named; rm old")
    sandbox.commands.run("cd watched; echo > sub/deep; mkdir end")
    events = seen(watch, "end")
    for expected in (
        ("new", FilesystemEventType.CREATE),
        ("new", FilesystemEventType.WRITE),
        ("old", FilesystemEventType.WRITE),
        ("old", FilesystemEventType.CHMOD),
        ("new", FilesystemEventType.RENAME),
        ("named", FilesystemEventType.CREATE),
        ("old", FilesystemEventType.REMOVE),
    ):
        assert expected in events
    assert not any(name.startswith("sub/") for name, _ in events)
    watch.stop()


def test_a_recursive_watch_covers_what_is_made_later(sandbox: Sandbox) -> None:
    sandbox.files.make_dir("watched/old")
    watch = sandbox.files.watch_dir("watched", recursive=True, include_entry=True)
    sandbox.files.write("watched/old/file", "x")
    sandbox.files.write("watched/new/deeper/file", "x")
    events: list[FilesystemEvent] = []
    while not any(event.name == "new/deeper/file" for event in events):
        events += watch.get_new_events()
    made = {event.name: event for event in events if event.type is FilesystemEventType.CREATE}
    assert {"old/file", "new", "new/deeper", "new/deeper/file"} <= made.keys()
    entry = made["old/file"].entry
    assert entry
    assert entry.path == at("watched/old/file")
    watch.stop()


def test_the_event_of_an_answered_write_is_there(sandbox: Sandbox) -> None:
    sandbox.files.make_dir("watched")
    watch = sandbox.files.watch_dir("watched")
    for number in range(50):
        sandbox.files.write(f"watched/{number}", "x")
        assert str(number) in {event.name for event in watch.get_new_events()}
    watch.stop()


async def test_the_asynchronous_half(asandbox: AsyncSandbox) -> None:
    events: asyncio.Queue[FilesystemEvent] = asyncio.Queue()
    await asandbox.files.make_dir("watched")
    watch = await asandbox.files.watch_dir("watched", on_event=events.put_nowait, recursive=True)
    data = os.urandom(MIB)
    await asyncio.gather(*(asandbox.files.write(f"watched/sub/{n}", data) for n in range(8)))
    names: set[str] = set()
    while not {f"sub/{n}" for n in range(8)} <= names:
        names.add((await events.get()).name)
    await watch.stop()  # type: ignore[no-untyped-call]
    assert bytes(await asandbox.files.read("watched/sub/5", format="bytes")) == data
    pieces = [piece async for piece in await asandbox.files.read("watched/sub/6", format="stream")]
    assert b"".join(pieces) == data
    with pytest.raises(FileNotFoundException):
        await asandbox.files.read("missing")
