import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from e2b import FileNotFoundException, FilesystemEvent, InvalidArgumentException, Sandbox, SandboxException

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


def test_events_are_not_lost_in_silence(sandbox: Sandbox, tmp_path: Path) -> None:
    watcher = sandbox.files.watch_dir(str(tmp_path))
    (tmp_path / "a").touch()
    for _ in range(9000):
        (tmp_path / "a").rename(tmp_path / "b")
        (tmp_path / "b").rename(tmp_path / "a")
    for _ in range(2):
        with pytest.raises(SandboxException, match="faster than they were read"):
            watcher.get_new_events()
    watcher.stop()


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
