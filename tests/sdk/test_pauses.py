"""Pause, resume and what wakes a sandbox, by the official SDK on real processes and files."""

import os
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from e2b import (
    AsyncSandbox,
    Sandbox,
    SandboxException,
    SandboxNotFoundException,
    SandboxQuery,
    SandboxState,
    TimeoutException,
)

from tests.instance import Instance, end

Create = Callable[..., Sandbox]

BOOT_ID = "cat /proc/sys/kernel/random/boot_id"
COUNT = "i=0; while :; do i=$((i+1)); echo $i > /home/user/count; sleep 0.05; done"


def said(sandbox: Sandbox, command: str) -> str:
    return sandbox.commands.run(command).stdout.strip()


def state(sandbox: Sandbox) -> SandboxState:
    return sandbox.get_info().state


@pytest.fixture
def counting(sandbox: Sandbox) -> Sandbox:
    """A sandbox with a process that counts a file up."""
    sandbox.commands.run(COUNT, background=True, timeout=0)
    sandbox.commands.run("until [ -s /home/user/count ]; do :; done")
    return sandbox


@pytest.fixture
def up_again(berm: Instance) -> Iterator[None]:
    """Whatever a test leaves down is up for the next."""
    yield
    berm.berm("up")


def test_processes_go_on_where_they_were(counting: Sandbox) -> None:
    pids, boot = said(counting, "pgrep -f count"), said(counting, BOOT_ID)
    assert counting.pause() is True
    assert (counting.is_running(), state(counting)) == (False, SandboxState.PAUSED)
    resumed = Sandbox.connect(counting.sandbox_id, timeout=60)
    before = int(said(resumed, "cat /home/user/count"))
    assert set(pids.split()) & set(said(resumed, "pgrep -f count").split())
    assert said(resumed, BOOT_ID) == boot
    assert int(said(resumed, "sleep 0.5; cat /home/user/count")) > before
    # The object that was there before goes on being of use: the token is the same.
    assert said(counting, "echo here") == "here"


def test_nothing_runs_while_it_is_paused(berm: Instance, counting: Sandbox) -> None:
    counting.pause()
    file = berm.pool / "sandboxes" / counting.sandbox_id / "rw/upper/home/user/count"
    first = file.read_text()
    subprocess.run(["sleep", "0.3"], check=True)
    assert file.read_text() == first


def test_without_memory_the_files_stay_and_the_processes_end(create: Create, berm: Instance) -> None:
    sandbox = create(timeout=60, envs={"COLOUR": "green"})
    sandbox.commands.run(COUNT, background=True, timeout=0)
    sandbox.files.write("/home/user/kept", "kept")
    boot, init = said(sandbox, BOOT_ID), berm.init_pid(sandbox.sandbox_id)
    assert sandbox.pause(keep_memory=False) is True
    assert not Path(f"/proc/{init}").exists()
    sandbox.connect(timeout=60)
    assert sandbox.files.read("/home/user/kept") == "kept"
    assert said(sandbox, "pgrep -f home/user/coun[t] || echo none") == "none"
    assert said(sandbox, "echo $COLOUR $E2B_SANDBOX_ID") == f"green {sandbox.sandbox_id}"
    assert said(sandbox, BOOT_ID) != boot


def test_a_boot_id_belongs_to_one_sandbox_and_cannot_be_changed(create: Create) -> None:
    first, second = create(), create()
    ids = {
        said(first, BOOT_ID),
        said(second, BOOT_ID),
        Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
    }
    assert len(ids) == 3
    tries = "echo x > {0}; chmod 666 {0}; umount {0}; rm -f {0}; true".format(BOOT_ID.removeprefix("cat "))
    first.commands.run(tries, user="root")
    assert said(first, BOOT_ID) in ids


def test_a_resume_can_leave_the_processes_behind(counting: Sandbox) -> None:
    boot = said(counting, BOOT_ID)
    counting.pause()
    counting.connect(timeout=60, on_resume="reboot")
    assert said(counting, BOOT_ID) != boot


def test_a_strict_pause_asks_the_agent_first(sandbox: Sandbox) -> None:
    assert sandbox.pause(strict=True) is True


def test_pausing_twice_is_told_apart(sandbox: Sandbox) -> None:
    assert (sandbox.pause(), sandbox.pause()) == (True, False)


def test_what_is_not_there_is_not_paused(sandbox: Sandbox) -> None:
    sandbox.kill()
    with pytest.raises(SandboxNotFoundException):
        sandbox.pause()
    with pytest.raises(SandboxNotFoundException):
        Sandbox.connect(sandbox.sandbox_id)


def test_paused_ones_are_listed_by_their_state(create: Create) -> None:
    running, paused = create(metadata={"of": "pauses"}), create(metadata={"of": "pauses"})
    paused.pause()
    for wanted, sandbox in ((SandboxState.PAUSED, paused), (SandboxState.RUNNING, running)):
        found = Sandbox.list(SandboxQuery(metadata={"of": "pauses"}, state=[wanted])).next_items()
        assert [info.sandbox_id for info in found] == [sandbox.sandbox_id]


@pytest.mark.parametrize("memory", [True, False])
def test_a_paused_sandbox_is_killed_whole(sandbox: Sandbox, berm: Instance, memory: bool) -> None:
    sandbox.pause(keep_memory=memory)
    assert sandbox.kill() is True
    assert sandbox.kill() is False
    for kept in ("sandboxes", "paused"):
        assert not (berm.pool / kept / sandbox.sandbox_id).exists()


def test_a_command_that_runs_is_cut_off_and_lives_on(sandbox: Sandbox) -> None:
    handle = sandbox.commands.run("sleep 100; echo done", background=True, timeout=0)
    sandbox.pause()
    with pytest.raises(SandboxException):
        handle.wait()
    sandbox.connect(timeout=60)
    assert handle.pid in {process.pid for process in sandbox.commands.list()}


def test_the_time_that_is_over_pauses(create: Create, berm: Instance) -> None:
    sandbox = create(timeout=60, lifecycle={"on_timeout": "pause"})
    assert sandbox.get_info().lifecycle == {"on_timeout": "pause", "auto_resume": False}
    sandbox.set_timeout(0)
    while state(sandbox) is SandboxState.RUNNING:
        pass
    assert httpx.get(sandbox.envd_api_url + "/health", headers=routed(sandbox)).status_code == 502
    assert state(sandbox) is SandboxState.PAUSED
    assert said(Sandbox.connect(sandbox.sandbox_id), "echo back") == "back"


def routed(sandbox: Sandbox, port: int = 49983) -> dict[str, str]:
    return {"E2b-Sandbox-Id": sandbox.sandbox_id, "E2b-Sandbox-Port": str(port)}


@pytest.fixture
def sleeper(create: Create) -> Sandbox:
    """A paused sandbox with a web server, which wakes up by requests."""
    sandbox = create(timeout=60, lifecycle={"on_timeout": "pause", "auto_resume": True})
    sandbox.files.write("/home/user/web/index.html", "awake")
    sandbox.commands.run("python3 -m http.server -d web 8000", background=True, timeout=0)
    sandbox.commands.run("until curl -s localhost:8000; do sleep 0.05; done")
    sandbox.pause()
    return sandbox


def test_a_request_to_a_port_wakes_it(sleeper: Sandbox, berm: Instance) -> None:
    with ThreadPoolExecutor() as pool:
        requests = [pool.submit(httpx.get, berm.url, headers=routed(sleeper, 8000)) for _ in range(5)]
        assert [request.result().text for request in requests] == ["awake"] * 5
    assert state(sleeper) is SandboxState.RUNNING


def test_a_command_wakes_it(sleeper: Sandbox) -> None:
    assert said(sleeper, "echo awake") == "awake"


def test_a_stranger_does_not_wake_it_through_its_agent(sleeper: Sandbox, berm: Instance) -> None:
    for token in ("wrong", "*", ""):
        answer = httpx.get(berm.url + "/health", headers={**routed(sleeper), "X-Access-Token": token})
        assert answer.status_code == 502
    assert state(sleeper) is SandboxState.PAUSED


def test_nothing_wakes_one_that_was_not_to_wake(sandbox: Sandbox) -> None:
    sandbox.pause()
    with pytest.raises(SandboxException):
        sandbox.commands.run("true")
    assert state(sandbox) is SandboxState.PAUSED


def test_memory_that_is_not_kept_cannot_wake(create: Create) -> None:
    with pytest.raises(SandboxException):
        create(lifecycle={"on_timeout": {"action": "pause", "keep_memory": False}, "auto_resume": True})


@pytest.mark.usefixtures("up_again")
@pytest.mark.parametrize("memory", [True, False])
def test_a_pause_outlives_the_server(counting: Sandbox, berm: Instance, memory: bool) -> None:
    counting.pause(keep_memory=memory)
    berm.kill_server()
    berm.berm("up")
    assert state(counting) is SandboxState.PAUSED
    counting.connect(timeout=60)
    count = int(said(counting, "cat /home/user/count"))
    assert (int(said(counting, "sleep 0.5; cat /home/user/count")) > count) is memory


@pytest.mark.usefixtures("up_again")
def test_a_pause_outlives_the_launcher(counting: Sandbox, berm: Instance) -> None:
    counting.pause()
    berm.kill_launcher()
    counting.connect(timeout=60)
    count = int(said(counting, "cat /home/user/count"))
    assert int(said(counting, "sleep 0.5; cat /home/user/count")) > count


@pytest.mark.usefixtures("up_again")
def test_files_outlive_the_processes_of_a_pause(counting: Sandbox, berm: Instance) -> None:
    """As after a reboot of the machine: the processes are gone while nobody looks."""
    boot = said(counting, BOOT_ID)
    counting.pause()
    berm.kill_server()
    berm.kill_launcher()
    os.kill(berm.init_pid(counting.sandbox_id), 9)
    thaw(berm, counting)
    berm.berm("up")
    assert state(counting) is SandboxState.PAUSED
    counting.connect(timeout=60)
    assert int(said(counting, "cat /home/user/count")) > 0
    assert said(counting, BOOT_ID) != boot


def thaw(berm: Instance, sandbox: Sandbox) -> None:
    """What has been killed while it was stopped ends once it goes on (cgroup version 1)."""
    pid = berm.init_pid(sandbox.sandbox_id)
    groups = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    freezer = next((line.split(":")[2] for line in groups if ":freezer:" in line), None)
    process = os.pidfd_open(pid)
    if freezer:
        Path(f"/sys/fs/cgroup/freezer{freezer}/freezer.state").write_text("THAWED")
    end(pid)
    os.close(process)


@pytest.mark.usefixtures("up_again")
def test_files_of_an_earlier_pause_are_refused(sandbox: Sandbox, berm: Instance) -> None:
    sandbox.pause(keep_memory=False)
    sandbox.connect(timeout=60)
    sandbox.pause(keep_memory=False)
    berm.kill_server()
    (berm.pool / "marks" / sandbox.sandbox_id).write_text("1")
    berm.berm("up")
    with pytest.raises(SandboxException, match=r"409: .*paused 2 times"):
        sandbox.connect(timeout=60)
    assert state(sandbox) is SandboxState.PAUSED


def test_a_fork_bomb_can_be_paused(sandbox: Sandbox) -> None:
    with pytest.raises((SandboxException, TimeoutException)):
        sandbox.commands.run(":(){ :|:& };:; sleep 100", timeout=1)
    assert sandbox.pause() is True
    assert sandbox.kill() is True


async def test_async_pause_and_connect(asandbox: AsyncSandbox) -> None:
    await asandbox.files.write("/home/user/file", "kept")
    assert await asandbox.pause() is True
    assert await AsyncSandbox.pause(asandbox.sandbox_id) is False
    assert await asandbox.is_running() is False
    resumed = await AsyncSandbox.connect(asandbox.sandbox_id, timeout=60)
    assert await resumed.files.read("/home/user/file") == "kept"
