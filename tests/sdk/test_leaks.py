"""After many creations and ends of every kind, the host has no more of anything than before."""

import signal
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from e2b import Sandbox

from berm.node.daemon import instance
from tests.instance import Instance

CUT_OFF = """
import sys, threading
from e2b import Sandbox
def create():
    while True:
        Sandbox.create()
for _ in range(4):
    threading.Thread(target=create, daemon=True).start()
print("creating", flush=True)
threading.Event().wait()
"""


def holdings(berm: Instance) -> Counter[str]:
    """What the host holds for this berm, counted by kind, without what waits for the next sandboxes."""
    name = instance(berm.home)
    mine = {berm.server_pid(), berm.launcher_pid()}
    processes = [p for p in Path("/proc").iterdir() if p.name.isdigit() and descends(int(p.name), mine)]
    directories = [path.name for path in (berm.pool / "sandboxes").iterdir()]
    waiting = sum(name.startswith(".") for name in directories)
    return Counter(
        {
            "mounts": Path("/proc/self/mountinfo").read_text().count(str(berm.home)),
            "network devices": sum(d.name.startswith(f"bm{name}-") for d in Path("/sys/class/net").iterdir())
            - waiting,
            "cgroups": len({path.name for path in Path("/sys/fs/cgroup").glob(f"*/berm-{name}/*/")})
            - waiting,
            "processes": len(processes) - waiting,
            "directories": len(directories) - waiting,
            "server descriptors": descriptors(berm.server_pid()),
            # A waiting process, its user and its network namespace.
            "launcher descriptors": descriptors(berm.launcher_pid()) - 3 * waiting,
        }
    )


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def descends(pid: int, ancestors: set[int]) -> bool:
    while pid > 1:
        if pid in ancestors:
            return True
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return False
        pid = int(stat.rpartition(")")[2].split()[1])
    return False


def settled(berm: Instance) -> Counter[str]:
    """The holdings once all is freed: when two looks agree."""
    before = holdings(berm)
    while True:
        # Each request gives the server and the launcher their turn.
        for _ in range(20):
            Sandbox.list().next_items()
        after = holdings(berm)
        if after == before:
            return after
        before = after


def create_and_kill(_: int) -> None:
    assert Sandbox.create().kill()


def test_five_hundred_sandboxes_leave_nothing(berm: Instance) -> None:
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(create_and_kill, range(20)))
    before = settled(berm)
    for number in range(150):
        create_and_kill(number)
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(create_and_kill, range(300)))
    for _ in range(5):
        cut_off(berm)
    for info in Sandbox.list().next_items():
        Sandbox.kill(info.sandbox_id)
    after = settled(berm)
    # Connections that are kept alive come and go; everything else is exact.
    for kind, spare in (("server descriptors", 30), ("launcher descriptors", 3)):
        assert after.pop(kind) <= before.pop(kind) + spare
    assert after == before


def cut_off(berm: Instance) -> None:
    """Kill a client in the middle of its creations, which are then ended by their owner's list."""
    client = subprocess.Popen(
        [sys.executable, "-c", CUT_OFF], env=berm.env, stdout=subprocess.PIPE, text=True
    )
    assert client.stdout
    with client.stdout:
        assert client.stdout.readline() == "creating\n"
        while len(Sandbox.list().next_items()) < 8:
            pass
    client.send_signal(signal.SIGKILL)
    client.wait()
    while found := Sandbox.list().next_items():
        for info in found:
            Sandbox.kill(info.sandbox_id)
