"""Finding this machine's launcher, or starting one: it runs on its own and outlives the server."""

import asyncio
import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

from berm.config import Config
from berm.errors import BermError, Code
from berm.launcher.client import LauncherClient
from berm.node.waiting import readable


def instance(home: Path) -> str:
    """Four hex digits that tell this state directory's kernel objects from another's."""
    return hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:4]


async def connect(config: Config, gone: Callable[[], None]) -> LauncherClient:
    """A connection to the launcher, which is started when it is not running.

    Raises BermError UNAVAILABLE with its last words when it cannot start.
    """
    try:
        return LauncherClient.connect(config.launcher_socket, gone)
    except (FileNotFoundError, ConnectionRefusedError):
        await _start(config)
    return LauncherClient.connect(config.launcher_socket, gone)


async def tear_down(config: Config) -> list[str]:
    """End every sandbox and the launcher and give back what the host lent; says what was freed.

    Starts a launcher if there is none, as only a launcher knows what may be left. Safe to call again.
    """
    if not config.pool_dir.exists():
        return []
    client = await connect(config, lambda: None)
    sandboxes = await client.pages("list", "sandboxes")
    for sandbox_id in sandboxes:
        await _end(client, sandbox_id)
    await client.call("tear_down")
    client.close()
    return [
        f"{len(sandboxes)} sandboxes",
        "the launcher, its network, control groups and storage pool",
    ]


async def _end(client: LauncherClient, sandbox_id: str) -> None:
    _, fds = await client.call("adopt", sandbox_id=sandbox_id)
    for process in fds:
        await client.call("kill", process, sandbox_id=sandbox_id)
        await readable(process)
        os.close(process)
    await client.call("free", sandbox_id=sandbox_id)


async def _start(config: Config) -> None:
    config.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    # The environment stays empty: root of any sandbox can read what this process ever held.
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-m",
        "berm.launcher",
        *_arguments(config),
        env={},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, words = await process.communicate()
    if process.returncode:
        reason = words.decode(errors="replace").strip() or f"see {config.run_dir / 'launcher.log'}"
        raise BermError(Code.UNAVAILABLE, f"the launcher did not start: {reason}", "run `berm doctor`")


def _arguments(config: Config) -> list[str]:
    options = {
        "instance": instance(config.home),
        "socket": config.launcher_socket,
        "log": config.run_dir / "launcher.log",
        "pool": config.pool_dir,
        "pool-image": config.home / "pool.img",
        "pool-gb": config.pool_gb,
        "subnet": config.subnet,
        "uid-base": config.uid_base,
        "warm": config.warm_slots,
    }
    return [f"--{name}={value}" for name, value in options.items()]
