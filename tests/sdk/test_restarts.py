"""The server and the launcher may end at any moment; sandboxes, their processes and the records live on."""

import os
import sqlite3
from collections.abc import Callable, Iterator

import pytest
from e2b import NotFoundException, Sandbox

from tests.instance import Instance, end


@pytest.fixture(autouse=True)
def up_again(berm: Instance) -> Iterator[None]:
    """Whatever a test leaves down is up for the next."""
    yield
    berm.berm("up")


@pytest.fixture
def ticking(sandbox: Sandbox) -> Iterator[tuple[Sandbox, int]]:
    """A sandbox in which a background process counts a file up."""
    script = "i=0; while :; do i=$((i+1)); echo $i; echo $i > /home/user/count; sleep 0.1; done"
    handle = sandbox.commands.run(script, background=True, timeout=0)
    sandbox.commands.run("until [ -s /home/user/count ]; do :; done")
    yield sandbox, handle.pid


def count(sandbox: Sandbox) -> int:
    return int(sandbox.commands.run("cat /home/user/count").stdout or 0)


def further_output(sandbox: Sandbox, pid: int) -> int:
    """The next number that the background process prints to whoever connects now."""
    handle = sandbox.commands.connect(pid, timeout=30)
    for stdout, _, _ in handle:
        if stdout:
            return int(stdout.split()[0])
    raise AssertionError("no further output")


def lives_on(sandbox: Sandbox, pid: int, before: int) -> None:
    again = Sandbox.connect(sandbox.sandbox_id)
    assert sandbox.sandbox_id in {info.sandbox_id for info in Sandbox.list().next_items()}
    assert pid in {process.pid for process in again.commands.list()}
    assert further_output(again, pid) > before
    assert count(again) > before


def test_server_killed_and_started(ticking: tuple[Sandbox, int], berm: Instance) -> None:
    sandbox, pid = ticking
    before = count(sandbox)
    berm.kill_server()
    berm.berm("up")
    lives_on(sandbox, pid, before)
    assert sandbox.get_info().metadata == {}


def test_launcher_killed(
    ticking: tuple[Sandbox, int], berm: Instance, create: Callable[..., Sandbox]
) -> None:
    sandbox, pid = ticking
    before = count(sandbox)
    berm.kill_launcher()
    lives_on(sandbox, pid, before)
    assert create().commands.run("echo new").stdout == "new\n"
    assert sandbox.kill()
    with pytest.raises(NotFoundException):
        Sandbox.connect(sandbox.sandbox_id)


def test_both_killed(ticking: tuple[Sandbox, int], berm: Instance, create: Callable[..., Sandbox]) -> None:
    sandbox, pid = ticking
    before = count(sandbox)
    berm.kill_server()
    berm.kill_launcher()
    berm.berm("up")
    lives_on(sandbox, pid, before)
    assert create().commands.run("echo new").stdout == "new\n"


def test_down_and_up(ticking: tuple[Sandbox, int], berm: Instance) -> None:
    sandbox, pid = ticking
    before = count(sandbox)
    assert "has stopped" in berm.berm("down").stderr
    berm.berm("up")
    lives_on(sandbox, pid, before)


def test_an_open_stream_is_broken_by_a_crash_and_not_ended(sandbox: Sandbox, berm: Instance) -> None:
    """A clean end would look like a command that is over; the SDK must see a failure instead."""
    handle = sandbox.commands.run("sleep 1000", background=True, timeout=0)
    berm.kill_server()
    with pytest.raises(Exception) as failure:
        handle.wait()
    assert "exit" not in type(failure.value).__name__.lower()
    berm.berm("up")
    assert handle.pid in {process.pid for process in Sandbox.connect(sandbox.sandbox_id).commands.list()}


def test_what_ended_while_the_server_was_away_is_known_after(
    create: Callable[..., Sandbox], berm: Instance
) -> None:
    sandbox = create()
    pid = berm.init_pid(sandbox.sandbox_id)
    berm.kill_server()
    end(pid)
    berm.berm("up")
    with pytest.raises(NotFoundException):
        Sandbox.connect(sandbox.sandbox_id)
    assert not (berm.pool / "sandboxes" / sandbox.sandbox_id).exists()


def test_what_no_record_knows_is_ended(create: Callable[..., Sandbox], berm: Instance) -> None:
    sandbox = create()
    pid = berm.init_pid(sandbox.sandbox_id)
    berm.kill_server()
    with sqlite3.connect(berm.home / "berm.db") as database:
        database.execute("DELETE FROM sandboxes WHERE sandbox_id = ?", (sandbox.sandbox_id,))
    database.close()
    berm.berm("up")
    assert not (berm.pool / "sandboxes" / sandbox.sandbox_id).exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_expiry_is_kept_over_a_restart(create: Callable[..., Sandbox], berm: Instance) -> None:
    sandbox = create(timeout=2)
    berm.kill_server()
    berm.berm("up")
    directory = berm.pool / "sandboxes" / sandbox.sandbox_id
    while directory.exists():
        Sandbox.list().next_items()
    assert not sandbox.is_running()
