"""/health, /init, /envs and /metrics."""

import os
import time
from typing import Any

from berm.agent import http
from berm.agent.config import Settings
from berm.agent.errors import AgentError, Kind
from berm.agent.http import Request, Send

_STRINGS = {"defaultUser": "user", "defaultWorkdir": "workdir"}


class Lifecycle:
    """What the sandbox's owner asks of the agent itself."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._usage = (time.monotonic(), 0.0)

    async def health(self, _request: Request, send: Send) -> None:
        await http.empty(send, 204)

    async def envs(self, _request: Request, send: Send) -> None:
        await http.json_body(send, 200, self._settings.env)

    async def init(self, request: Request, send: Send) -> None:
        values = await request.json()
        _check(values)
        self._set_token(values.get("accessToken"))
        self._settings.env |= values.get("envVars") or {}
        for name, attribute in _STRINGS.items():
            if values.get(name):
                setattr(self._settings, attribute, values[name])
        await http.empty(send, 204)

    async def metrics(self, _request: Request, send: Send) -> None:
        await http.json_body(send, 200, self._metrics())

    def _set_token(self, token: str | None) -> None:
        current = self._settings.access_token
        if token and current and not http.same_secret(token, current):
            raise AgentError(Kind.UNAUTHENTICATED, "the access token is set already, to another value")
        self._settings.access_token = token or current

    def _metrics(self) -> dict[str, float]:
        config = self._settings.config
        total = config.memory_mb << 20
        used, cache = (min(size, total) for size in _memory())
        return {
            "ts": int(time.time()),
            "cpu_count": config.cpu_count,
            "cpu_used_pct": self._cpu_percent(),
            "mem_total": total,
            "mem_used": used,
            "mem_cache": cache,
            "mem_total_mib": config.memory_mb,
            "mem_used_mib": used >> 20,
            **_disk(config.disk_mb << 20),
        }

    def _cpu_percent(self) -> float:
        """Since the last call, of all processors of the sandbox together: 0 to 100."""
        then, used_then = self._usage
        now, used = self._usage = (time.monotonic(), _cpu_seconds())
        percent = 100 * (used - used_then) / max(now - then, 0.001) / self._settings.config.cpu_count
        return round(min(max(percent, 0.0), 100.0), 2)


def _disk(quota: int) -> dict[str, int]:
    """What is used of a quota only the host knows: statvfs(3) tells of the file system that many share."""
    if quota:
        return {"disk_total": quota}
    disk = os.statvfs("/")
    total, free = disk.f_blocks * disk.f_frsize, disk.f_bfree * disk.f_frsize
    return {"disk_used": total - free, "disk_total": total}


def _check(values: dict[str, Any]) -> None:
    envs = values.get("envVars") or {}
    if not isinstance(envs, dict) or not all(isinstance(value, str) for value in envs.values()):
        raise AgentError(Kind.INVALID, "envVars is not an object of strings")
    for name in ("accessToken", *_STRINGS):
        if not isinstance(values.get(name) or "", str):
            raise AgentError(Kind.INVALID, f"{name} is not a string")


_MEMORY_FILES = ("/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory/memory.usage_in_bytes")
_MEMORY_STATS = ("/sys/fs/cgroup/memory.stat", "/sys/fs/cgroup/memory/memory.stat")


def _memory() -> tuple[int, int]:
    """Bytes used without the page cache, and the page cache: of the cgroup, else of the processes."""
    for current, stat in zip(_MEMORY_FILES, _MEMORY_STATS, strict=True):
        if (number := _read(current).strip()).isdigit():
            fields = dict(line.split() for line in _read(stat).splitlines())
            cache = int(fields.get("file") or fields.get("cache") or 0)
            return max(0, int(number) - cache), cache
    return sum(_resident(pid) for pid in _pids()), 0


def _resident(pid: str) -> int:
    fields = _read(f"/proc/{pid}/statm").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") if fields else 0


def _cpu_seconds() -> float:
    """Processor time used so far, of the cgroup, else of the processes there are."""
    for line in _read("/sys/fs/cgroup/cpu.stat").splitlines():
        if line.startswith("usage_usec "):
            return int(line.split()[1]) / 1e6
    ticks = sum(int(field) for pid in _pids() for field in _stat(pid)[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def _stat(pid: str) -> list[str]:
    """The fields of /proc/PID/stat after the name, which may hold anything: proc_pid_stat(5)."""
    return _read(f"/proc/{pid}/stat").rpartition(")")[2].split()


def _pids() -> list[str]:
    try:
        return [name for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []


def _read(path: str) -> str:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(1 << 16).decode("utf-8", "replace")
    except OSError:
        return ""
