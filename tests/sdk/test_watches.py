"""Watches of both halves: the synchronous one asks for its events, the asynchronous one is told."""

import asyncio
from typing import Any

import pytest
from e2b import (
    AsyncSandbox,
    FileNotFoundException,
    FilesystemEvent,
    FilesystemEventType,
    InvalidArgumentException,
    Sandbox,
    SandboxException,
    SandboxNotRunningException,
    TimeoutException,
    WatchHandle,
)

from tests.sdk.attempts import all_raise
from tests.sdk.halves import Blocking
from tests.sdk.test_files import at

CREATE, WRITE, REMOVE, RENAME, CHMOD = (
    FilesystemEventType[name] for name in ("CREATE", "WRITE", "REMOVE", "RENAME", "CHMOD")
)
STEPS = (
    (
        "echo 1 > plain; echo 2 >> plain; chmod 600 plain; mv plain moved; rm moved; "
        "mkdir -p sub/deep; echo 3 > sub/deep/file; touch old/known; mkdir one",
        "one",
    ),
    ("mv sub renamed; mkdir two", "two"),
    ("echo 4 > renamed/deep/file; ln -s nowhere link; rm -r renamed; mkdir end", "end"),
)
"""What is done in the watched directory, and the name that is told of last."""


def until(watch: WatchHandle, name: str) -> list[FilesystemEvent]:
    events: list[FilesystemEvent] = []
    while not any(event.name == name for event in events):
        events += watch.get_new_events(request_timeout=30)
    return events


class Told:
    """The events an asynchronous watch tells of, and how it ended."""

    def __init__(self) -> None:
        self.events: list[FilesystemEvent] = []
        self.news = asyncio.Event()
        self.ended: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def take(self, event: FilesystemEvent) -> None:
        self.events.append(event)
        self.news.set()

    async def until(self, name: str) -> list[FilesystemEvent]:
        while not any(event.name == name for event in self.events):
            self.news.clear()
            await self.news.wait()
        return self.events


def assert_all_seen(events: list[FilesystemEvent], recursive: bool) -> None:
    seen = [(event.name, event.type) for event in events]
    expected = [
        ("plain", CREATE),
        ("plain", WRITE),
        ("plain", CHMOD),
        ("plain", RENAME),
        ("moved", CREATE),
        ("moved", REMOVE),
        ("sub", CREATE),
        ("sub", RENAME),
        ("renamed", CREATE),
        ("link", CREATE),
        ("renamed", REMOVE),
        ("end", CREATE),
    ]
    places = [seen.index(item) for item in expected]
    assert places == sorted(places)
    below = {name for name, _ in seen if "/" in name}
    if recursive:
        assert {("renamed/deep/file", WRITE), ("renamed/deep", REMOVE), ("old/known", CHMOD)} <= set(seen)
        assert {"sub/deep", "sub/deep/file"} <= below
    else:
        assert not below


def assert_entries(events: list[FilesystemEvent]) -> None:
    for event in events:
        if event.type in (REMOVE, RENAME):
            assert event.entry is None
    last = next(event for event in events if event.name == "end")
    assert last.entry
    assert (last.entry.path, last.entry.owner, last.entry.name) == (at("watched/end"), "user", "end")


@pytest.mark.parametrize("recursive", [False, True])
def test_everything_that_happens(sandbox: Sandbox, recursive: bool) -> None:
    sandbox.commands.run("mkdir -p watched/old; touch watched/old/known")
    watch = sandbox.files.watch_dir("watched", user="user", request_timeout=30, recursive=recursive)
    told = sandbox.files.watch_dir("~/watched", include_entry=True, allow_network_mounts=True)
    plain: list[FilesystemEvent] = []
    full: list[FilesystemEvent] = []
    for commands, last in STEPS:
        sandbox.commands.run(commands, cwd="watched")
        plain += until(watch, last)
        full += until(told, last)
    assert all(event.entry is None for event in plain)
    assert_all_seen(plain, recursive)
    assert_entries(full)
    watch.stop(request_timeout=30)
    with pytest.raises(SandboxException, match="already stopped"):
        watch.get_new_events()


@pytest.mark.parametrize("recursive", [False, True])
async def test_everything_is_told(asandbox: AsyncSandbox, recursive: bool) -> None:
    await asandbox.commands.run("mkdir -p watched/old; touch watched/old/known")
    plain, full = Told(), Told()

    async def take(event: FilesystemEvent) -> None:
        full.take(event)

    options: dict[str, Any] = {"recursive": recursive, "timeout": 0, "request_timeout": 30}
    watch = await asandbox.files.watch_dir("watched", plain.take, plain.ended.set_result, **options)
    other = await asandbox.files.watch_dir(
        at("watched"), take, full.ended.set_result, user="root", include_entry=True, allow_network_mounts=True
    )
    for commands, last in STEPS:
        await asandbox.commands.run(commands, cwd="watched")
        await plain.until(last)
    assert_all_seen(plain.events, recursive)
    assert_entries(await full.until("end"))
    for handle, told in ((watch, plain), (other, full)):
        await handle.stop()  # type: ignore[no-untyped-call]
        assert await told.ended is None


def test_writes_of_the_sdk_itself_are_seen(sandbox: Sandbox) -> None:
    """A new file is created, given away and written, in this order, and nothing else."""
    sandbox.files.make_dir("watched")
    watch = sandbox.files.watch_dir("watched", recursive=True)
    sandbox.files.write("watched/new", "content")
    assert [(event.name, event.type) for event in watch.get_new_events()] == [
        ("new", CREATE),
        ("new", CHMOD),
        ("new", WRITE),
    ]
    sandbox.files.write("watched/new", "content", metadata={"a": "b"})
    assert {event.type for event in watch.get_new_events()} == {WRITE, CHMOD}
    sandbox.files.rename("watched/new", "watched/sub/old")
    names = {(event.name, event.type) for event in watch.get_new_events()}
    assert {("new", RENAME), ("sub", CREATE), ("sub/old", CREATE)} <= names
    sandbox.files.remove("watched/sub")
    names = {(event.name, event.type) for event in watch.get_new_events()}
    assert {("sub/old", REMOVE), ("sub", REMOVE)} <= names
    assert watch.get_new_events() == []


def test_several_watches_of_one_directory(sandbox: Sandbox) -> None:
    sandbox.files.make_dir("watched")
    watches = [sandbox.files.watch_dir("watched") for _ in range(5)]
    sandbox.files.make_dir("watched/end")
    watches[0].stop()
    for watch in watches[1:]:
        assert [event.name for event in until(watch, "end")].count("end") >= 1


def test_the_directory_itself_goes(sandbox: Sandbox) -> None:
    sandbox.files.make_dir("watched")
    watch = sandbox.files.watch_dir("watched")
    sandbox.files.remove("watched")
    assert REMOVE in {event.type for event in watch.get_new_events()}
    sandbox.files.write("watched/again", "x")
    assert watch.get_new_events() == []
    watch.stop()


@pytest.mark.parametrize("name", ["two words", "line\nbreak", "\N{ROCKET}", "x" * 255, "back\\slash"])
def test_unusual_names(sandbox: Sandbox, name: str) -> None:
    sandbox.files.make_dir(at(name))
    watch = sandbox.files.watch_dir(at(name), recursive=True, include_entry=True)
    sandbox.files.write(at(f"{name}/{name}/{name}"), "x")
    seen = {event.name: event.entry for event in watch.get_new_events() if event.type is CREATE}
    assert seen.keys() == {name, f"{name}/{name}"}
    entry = seen[f"{name}/{name}"]
    assert entry
    assert entry.path == at(f"{name}/{name}/{name}")


def test_what_cannot_be_watched(either: Any) -> None:
    either.files.write("file", "x")
    take = [lambda event: None] if isinstance(either, Blocking) else []
    all_raise(
        FileNotFoundException,
        "does not exist",
        lambda: either.files.watch_dir("missing", *take),
        lambda: either.files.watch_dir("missing", *take, recursive=True),
    )
    all_raise(
        InvalidArgumentException,
        "is not a directory|home directory",
        lambda: either.files.watch_dir("file", *take),
        lambda: either.files.watch_dir("~nobody", *take),
    )


async def test_a_watch_ends_when_its_time_is_over(asandbox: AsyncSandbox) -> None:
    told = Told()
    await asandbox.files.make_dir("watched")
    await asandbox.files.watch_dir("watched", told.take, told.ended.set_result, timeout=0.5)
    assert isinstance(await told.ended, TimeoutException)


async def test_a_watch_ends_with_its_sandbox(asandbox: AsyncSandbox) -> None:
    told = Told()
    await asandbox.files.make_dir("watched")
    await asandbox.files.watch_dir("watched", told.take, told.ended.set_result, timeout=0)
    await asandbox.kill()
    assert isinstance(await told.ended, SandboxNotRunningException)


async def test_more_than_a_watch_can_hold(asandbox: AsyncSandbox) -> None:
    """A reader that falls behind is told so: nothing is left out in silence."""
    told = Told()
    created = 0

    def take(event: FilesystemEvent) -> None:
        nonlocal created
        created += event.type is CREATE

    await asandbox.files.make_dir("watched")
    await asandbox.files.watch_dir("watched", take, told.ended.set_result, timeout=0)
    await asandbox.commands.run("cd watched && seq 30000 | xargs touch")
    while created < 30_000 and not told.ended.done():
        await asyncio.sleep(0.01)
    if created < 30_000:
        assert "came faster than they were read" in str(await told.ended)
