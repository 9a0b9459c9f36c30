import asyncio
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from e2b import (
    FileNotFoundException,
    FilesystemEvent,
    FilesystemEventType,
    InvalidArgumentException,
    Sandbox,
    SandboxException,
)

from berm.agent import inotify, watch
from berm.agent.errors import AgentError
from tests.agent.conftest import Agent
from tests.agent.processes import open_files
from tests.agent.wire import STREAM, Json, call, error, frame, frames

pytestmark = pytest.mark.root


def seen(events: list[FilesystemEvent]) -> list[tuple[str, str]]:
    return [(event.name, event.type.value) for event in events]


def test_an_upload_is_create_chmod_write(sandbox: Sandbox, tmp_path: Path) -> None:
    watcher = sandbox.files.watch_dir(str(tmp_path))
    sandbox.files.write(str(tmp_path / "f"), "x")
    assert seen(watcher.get_new_events()) == [("f", "create"), ("f", "chmod"), ("f", "write")]
    assert watcher.get_new_events() == []
    watcher.stop()


def test_kinds(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    watcher = sandbox.files.watch_dir(str(tmp_path))
    os.setxattr(tmp_path / "f", "user.e2b.k", b"v")
    (tmp_path / "f").rename(tmp_path / "g")
    os.chown(tmp_path / "g", 65534, 0)
    (tmp_path / "g").unlink()
    assert seen(watcher.get_new_events()) == [
        ("f", "chmod"),
        ("f", "rename"),
        ("g", "create"),
        ("g", "chmod"),
        ("g", "remove"),
    ]
    watcher.stop()


def test_not_recursive(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    watcher = sandbox.files.watch_dir(str(tmp_path))
    (tmp_path / "sub" / "f").touch()
    assert watcher.get_new_events() == []
    watcher.stop()


def test_recursive_covers_what_is_made_later(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "old" / "deep").mkdir(parents=True)
    watcher = sandbox.files.watch_dir(str(tmp_path), recursive=True)
    (tmp_path / "old" / "deep" / "f").touch()
    assert seen(watcher.get_new_events()) == [("old/deep/f", "create")]
    (tmp_path / "new" / "deep").mkdir(parents=True)
    (tmp_path / "new" / "deep" / "f").write_text("x")
    first = seen(watcher.get_new_events())
    assert [name for name, kind in first if kind == "create"] == ["new", "new/deep", "new/deep/f"]
    (tmp_path / "new" / "deep" / "g").write_text("x")
    assert seen(watcher.get_new_events()) == [("new/deep/g", "create"), ("new/deep/g", "write")]
    watcher.stop()


def test_recursive_follows_moves(sandbox: Sandbox, tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "a" / "b").mkdir(parents=True)
    watcher = sandbox.files.watch_dir(str(top), recursive=True)
    (top / "a").rename(top / "c")
    assert seen(watcher.get_new_events()) == [("a", "rename"), ("c", "create")]
    (top / "c" / "b" / "f").touch()
    assert ("c/b/f", "create") in seen(watcher.get_new_events())
    (top / "c").rename(tmp_path / "outside")
    watcher.get_new_events()
    (tmp_path / "outside" / "b" / "g").touch()
    assert watcher.get_new_events() == []
    watcher.stop()


def made(events: list[FilesystemEvent]) -> list[str]:
    return [event.name for event in events if event.type == FilesystemEventType.CREATE]


@contextmanager
def unread(agent: Agent) -> Iterator[None]:
    """The agent meets all that happens in here at once."""
    os.kill(agent.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(agent.pid, signal.SIGCONT)


def test_writes_between_moves_are_told_by_the_name_of_their_time(
    agent: Agent, sandbox: Sandbox, tmp_path: Path
) -> None:
    (tmp_path / "a" / "deep").mkdir(parents=True)
    watcher = sandbox.files.watch_dir(str(tmp_path), recursive=True)
    expected = []
    with unread(agent):
        for step in range(200):
            old, new = (tmp_path / name for name in ("ab" if step % 2 == 0 else "ba"))
            (old / f"f{step}").touch()
            (old / "deep" / f"g{step}").touch()
            old.rename(new)
            expected += [f"{old.name}/f{step}", f"{old.name}/deep/g{step}", new.name]
    assert made(watcher.get_new_events()) == expected
    watcher.stop()


def test_nothing_is_lost_in_a_storm_of_moves(sandbox: Sandbox, tmp_path: Path) -> None:
    """A process moves the parent's parent of a directory about while files are made in that."""
    (tmp_path / "x").mkdir()
    home = tmp_path / "home"
    (home / "middle" / "deep").mkdir(parents=True)
    watcher = sandbox.files.watch_dir(str(tmp_path), recursive=True)
    storm = f"cd {tmp_path}; while [ ! -e stop ]; do mv home x/there; mv x/there back; mv back home; done"
    told: list[str] = []
    deep = os.open(home / "middle" / "deep", os.O_PATH)
    with subprocess.Popen(["bash", "-c", storm]):
        for number in range(3000):
            os.close(os.open(f"f{number}", os.O_CREAT, dir_fd=deep))
            if number % 100 == 0:
                told += made(watcher.get_new_events())
        (tmp_path / "stop").touch()
    told += made(watcher.get_new_events())
    files = [name.rpartition("/") for name in told if "/f" in name]
    assert [name for _, _, name in files] == [f"f{number}" for number in range(3000)]
    assert {parent for parent, _, _ in files} <= {
        f"{place}/middle/deep" for place in ("home", "x/there", "back")
    }
    os.close(deep)
    watcher.stop()


def test_moving_out_and_back_in_one_go(agent: Agent, sandbox: Sandbox, tmp_path: Path) -> None:
    top, outside = tmp_path / "top", tmp_path / "outside"
    (top / "a" / "b").mkdir(parents=True)
    watcher = sandbox.files.watch_dir(str(top), recursive=True)
    with unread(agent):
        (top / "a").rename(outside)
        (outside / "b" / "unseen").touch()
        outside.rename(top / "c")
        (top / "c" / "b" / "f").touch()
    assert made(watcher.get_new_events()) == ["c", "c/b/f"]
    (top / "c" / "b").rename(tmp_path / "b")
    (tmp_path / "b" / "unseen").touch()
    (top / "c" / "g").touch()
    assert made(watcher.get_new_events()) == ["c/g"]
    (tmp_path / "b" / "unseen2").touch()
    assert watcher.get_new_events() == []
    watcher.stop()


def test_storm_of_moves_out_and_in(agent: Agent, sandbox: Sandbox, tmp_path: Path) -> None:
    """However often it has left, what is there in the end is watched, and what is not there is not."""
    top, outside = tmp_path / "top", tmp_path / "outside"
    (top / "a" / "b").mkdir(parents=True)
    outside.mkdir()
    watcher = sandbox.files.watch_dir(str(top), recursive=True)
    storm = f"cd {top}; for i in $(seq 500); do mv a ../outside; mv ../outside/a c; mv c a; done"
    with subprocess.Popen(["bash", "-c", storm]) as moving:
        while moving.poll() is None:
            (top / f"f{time.monotonic_ns()}").touch()
            watcher.get_new_events()
    watcher.get_new_events()
    (top / "a" / "b" / "last").touch()
    assert made(watcher.get_new_events()) == ["a/b/last"]
    assert watches(agent) == 3
    (top / "a").rename(outside / "a")
    watcher.get_new_events()
    (outside / "a" / "b" / "unseen").touch()
    assert watcher.get_new_events() == []
    assert watches(agent) == 1
    watcher.stop()


def watches(agent: Agent) -> int:
    """How many the agent has in the kernel: proc_pid_fdinfo(5)."""
    files = Path(f"/proc/{agent.pid}/fdinfo").iterdir()
    return sum(file.read_text().count("inotify wd:") for file in files)


def test_what_was_moved_before_it_was_watched(agent: Agent, sandbox: Sandbox, tmp_path: Path) -> None:
    watcher = sandbox.files.watch_dir(str(tmp_path), recursive=True)
    with unread(agent):
        (tmp_path / "a" / "deep").mkdir(parents=True)
        (tmp_path / "a" / "deep" / "f").touch()
        (tmp_path / "a").rename(tmp_path / "b")
    assert made(watcher.get_new_events()) == ["a", "b", "b/deep", "b/deep/f"]
    (tmp_path / "b" / "deep" / "g").touch()
    assert made(watcher.get_new_events()) == ["b/deep/g"]
    watcher.stop()


def test_another_in_the_place_of_one_that_was_moved(agent: Agent, sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "a" / "old").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    watcher = sandbox.files.watch_dir(str(tmp_path), recursive=True)
    with unread(agent):
        (tmp_path / "a").rename(tmp_path / "empty")
        (tmp_path / "a" / "new").mkdir(parents=True)
        (tmp_path / "a").rename(tmp_path / "c")
        (tmp_path / "a").mkdir()
    watcher.get_new_events()
    for name in "empty/old/f", "c/new/f", "a/f":
        (tmp_path / name).touch()
    assert made(watcher.get_new_events()) == ["empty/old/f", "c/new/f", "a/f"]
    watcher.stop()


def test_two_directories_that_change_places(agent: Agent, sandbox: Sandbox, tmp_path: Path) -> None:
    for name in "a/ofa", "b/ofb":
        (tmp_path / name).mkdir(parents=True)
    watcher = sandbox.files.watch_dir(str(tmp_path), recursive=True)
    with unread(agent):
        exchange(tmp_path / "a", tmp_path / "b")
    watcher.get_new_events()
    for name in "a/ofb/f", "b/ofa/f":
        (tmp_path / name).touch()
    assert made(watcher.get_new_events()) == ["a/ofb/f", "b/ofa/f"]
    watcher.stop()


def exchange(left: Path, right: Path) -> None:
    """renameat2(2) with RENAME_EXCHANGE."""
    libc = ctypes.CDLL(None, use_errno=True)
    here = -100
    assert libc.renameat2(here, bytes(left), here, bytes(right), 2) == 0, os.strerror(ctypes.get_errno())


def test_a_way_back_to_a_directory_above(agent: Agent, sandbox: Sandbox, tmp_path: Path) -> None:
    """A link in the old place of what was moved leads to it by a path that was its own."""
    (tmp_path / "a" / "e").mkdir(parents=True)
    watcher = sandbox.files.watch_dir(str(tmp_path), recursive=True)
    with unread(agent):
        (tmp_path / "a" / "e" / "d").mkdir()
        (tmp_path / "a" / "e" / "d").rmdir()
        (tmp_path / "a" / "e").rename(tmp_path / "e")
        (tmp_path / "a").rename(tmp_path / "e" / "d")
        (tmp_path / "a").symlink_to(".")
    watcher.get_new_events()
    (tmp_path / "e" / "d" / "f").touch()
    assert made(watcher.get_new_events()) == ["e/d/f"]
    watcher.stop()


def test_entries_if_asked(sandbox: Sandbox, tmp_path: Path) -> None:
    watcher = sandbox.files.watch_dir(str(tmp_path), include_entry=True)
    (tmp_path / "f").write_text("abc")
    (tmp_path / "f").rename(tmp_path / "g")
    events = {(event.name, event.type.value): event.entry for event in watcher.get_new_events()}
    created = events["g", "create"]
    assert created is not None
    assert (created.path, created.size) == (str(tmp_path / "g"), 3)
    assert events["f", "rename"] is None
    watcher.stop()


def test_what_cannot_be_watched(sandbox: Sandbox) -> None:
    with pytest.raises(FileNotFoundException):
        sandbox.files.watch_dir("/no/such")
    with pytest.raises(InvalidArgumentException):
        sandbox.files.watch_dir("/etc/passwd")


def test_unknown_watchers(client: httpx.Client) -> None:
    for method in "GetWatcherEvents", "RemoveWatcher":
        answer = call(client, f"filesystem.Filesystem/{method}", {"watcherId": "none"})
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_stopped_watcher_is_gone(agent: Agent, sandbox: Sandbox, tmp_path: Path) -> None:
    before = open_files(agent.pid)
    watcher = sandbox.files.watch_dir(str(tmp_path), recursive=True)
    assert open_files(agent.pid) == before + 1
    watcher.stop()
    assert open_files(agent.pid) == before
    with pytest.raises(SandboxException):
        watcher.get_new_events()


def test_failing_leaves_nothing_open(agent: Agent) -> None:
    before = open_files(agent.pid)
    call(agent.client, "filesystem.Filesystem/CreateWatcher", {"path": "/etc/passwd"})
    assert open_files(agent.pid) == before


def more_than_fits(directory: Path) -> None:
    (directory / "a").touch()
    for _ in range(9000):
        (directory / "a").rename(directory / "b")
        (directory / "b").rename(directory / "a")


def test_events_are_not_lost_in_silence(sandbox: Sandbox, tmp_path: Path) -> None:
    watcher = sandbox.files.watch_dir(str(tmp_path))
    more_than_fits(tmp_path)
    for _ in range(2):
        with pytest.raises(SandboxException, match="faster than they were read") as failure:
            watcher.get_new_events()
        assert type(failure.value) is SandboxException
    watcher.stop()


async def test_a_stream_of_events_does_not_end_in_silence(agent: Agent, tmp_path: Path) -> None:
    sandbox = agent.async_sandbox()
    ended: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
    await sandbox.files.watch_dir(str(tmp_path), lambda _event: None, ended.set_result, timeout=0)
    with unread(agent):
        more_than_fits(tmp_path)
    failure = await ended
    assert type(failure) is SandboxException
    assert "faster than they were read" in str(failure)


@contextmanager
def watching(client: httpx.Client, message: Json, **headers: str) -> Iterator[Iterator[tuple[int, Json]]]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    url = "/filesystem.Filesystem/WatchDir"
    with client.stream("POST", url, content=frame(message), headers=STREAM | named) as response:
        yield frames(response)


def test_stream(client: httpx.Client, tmp_path: Path) -> None:
    with watching(client, {"path": str(tmp_path), "recursive": True}) as received:
        assert next(received) == (0, {"start": {}})
        (tmp_path / "f").mkdir()
        expected = {"name": "f", "type": "EVENT_TYPE_CREATE"}
        assert next(received) == (0, {"filesystem": expected})


def test_stream_keepalive_and_deadline(client: httpx.Client, tmp_path: Path) -> None:
    headers = {"keepalive_ping_interval": "1", "connect_timeout_ms": "1500"}
    with watching(client, {"path": str(tmp_path)}, **headers) as received:
        messages = list(received)
    assert messages[:2] == [(0, {"start": {}}), (0, {"keepalive": {}})]
    assert error(messages)["code"] == "deadline_exceeded"


def test_stream_of_nothing(client: httpx.Client) -> None:
    with watching(client, {"path": "/no/such"}) as received:
        assert error(list(received))["code"] == "not_found"


async def test_async_sdk(agent: Agent, tmp_path: Path) -> None:
    sandbox = agent.async_sandbox()
    events: asyncio.Queue[FilesystemEvent] = asyncio.Queue()
    handle = await sandbox.files.watch_dir(str(tmp_path), events.put)
    await sandbox.files.write(str(tmp_path / "f"), "x")
    assert seen([await events.get() for _ in range(3)]) == [("f", "create"), ("f", "chmod"), ("f", "write")]
    await handle.stop()  # type: ignore[no-untyped-call]


def test_network_mounts_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kind = inotify.filesystem_type(str(tmp_path))
    monkeypatch.setitem(watch._NETWORK, kind, "stand-in")
    with pytest.raises(AgentError, match="network filesystem"):
        watch._refuse_network(str(tmp_path))
    assert inotify.filesystem_type("/proc") == 0x9FA0
