"""The figures, each with the sentence that says what it measures.

All of them use the SDK's sync client, in threads where something is to happen at once: per creation it costs
less processor time than the async client. It keeps its connections for the whole process, so after the first
call they measure what a program sees that has been using it for a while.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from e2b import Sandbox

from bench import pauses
from bench.machine import TEMPLATE, cgroup_mib, init_pid, private_mib
from bench.others import Start

T = TypeVar("T")

TRANSFER_MIB: Final = 64
_CONTENT: Final = bytes(range(256)) * (TRANSFER_MIB * 4096)
_FILE: Final = "blob"
_THREADS: Final = 10


@dataclass(frozen=True)
class Figure:
    """One line of the report."""

    name: str
    unit: str
    what: str
    measure: Callable[[Sandbox], Sequence[float]]
    """Takes the samples of one round; it is given a sandbox that has been used before."""
    other: Callable[[Start], float] | None = None
    """Takes one sample of another way, where that has a meaning."""
    rounds: int = 100
    quick_rounds: int = 10


def create(_warm: Sandbox) -> Sequence[float]:
    started = time.perf_counter()
    sandbox = Sandbox.create(TEMPLATE)
    took = _ms_since(started)
    sandbox.kill()
    return [took]


def first_output(_warm: Sandbox) -> Sequence[float]:
    arrivals: list[float] = []
    started = time.perf_counter()
    sandbox = Sandbox.create(TEMPLATE)
    sandbox.commands.run("echo", on_stdout=lambda _text: arrivals.append(_ms_since(started)))
    sandbox.kill()
    return arrivals[:1]


def warm_command(warm: Sandbox) -> Sequence[float]:
    started = time.perf_counter()
    warm.commands.run("true")
    return [_ms_since(started)]


def upload(warm: Sandbox) -> Sequence[float]:
    started = time.perf_counter()
    warm.files.write(_FILE, _CONTENT)
    return [TRANSFER_MIB / (time.perf_counter() - started)]


def download(warm: Sandbox) -> Sequence[float]:
    started = time.perf_counter()
    content = warm.files.read(_FILE, format="bytes")
    took = time.perf_counter() - started
    assert content == _CONTENT
    return [TRANSFER_MIB / took]


def creations(at_once: int, total: int, _warm: Sandbox) -> Sequence[float]:
    sandboxes, took = _in_threads(at_once, lambda: Sandbox.create(TEMPLATE), total)
    _kill(sandboxes)
    return [total / took]


def memory(read: Callable[[int], float], count: int, _warm: Sandbox) -> Sequence[float]:
    sandboxes, _ = _in_threads(_THREADS, lambda: Sandbox.create(TEMPLATE), count)
    found = [read(init_pid(sandbox.sandbox_id)) for sandbox in sandboxes]
    _kill(sandboxes)
    return found


def start(way: Start) -> float:
    started = time.perf_counter()
    way()
    return _ms_since(started)


def starts(at_once: int, total: int, way: Start) -> float:
    return total / _in_threads(at_once, way, total)[1]


def client_ms() -> float:
    """Processor time of this process for one creation, the thread pool's included."""
    before = time.process_time()
    sandboxes, _ = _in_threads(_THREADS, lambda: Sandbox.create(TEMPLATE), 20)
    spent = time.process_time() - before
    _kill(sandboxes)
    return spent / len(sandboxes) * 1000


def _in_threads(threads: int, work: Callable[[], T], total: int) -> tuple[list[T], float]:
    """What `total` calls returned, and the seconds that all of them took."""
    with ThreadPoolExecutor(threads) as pool:
        started = time.perf_counter()
        made = [future.result() for future in [pool.submit(work) for _ in range(total)]]
        return made, time.perf_counter() - started


def _kill(sandboxes: Sequence[Sandbox]) -> None:
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(Sandbox.kill, sandboxes))


def _ms_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000


def _rate(at_once: int, total: int) -> Figure:
    return Figure(
        f"created {at_once} at once",
        "/s",
        f"{total} sandboxes created, {at_once} at a time, by the time until the last is there; "
        "others: `true` started and ended as often",
        partial(creations, at_once, total),
        partial(starts, at_once, total),
        rounds=5,
        quick_rounds=1,
    )


def _seldom(name: str, what: str, measure: Callable[[Sandbox], Sequence[float]]) -> Figure:
    return Figure(name, "ms", what, measure, rounds=15, quick_rounds=3)


def _memory(name: str, what: str, read: Callable[[int], float]) -> Figure:
    return Figure(name, "MiB", what, partial(memory, read, 100), rounds=1, quick_rounds=1)


FIGURES: Final = (
    Figure(
        "create",
        "ms",
        "Sandbox.create() until it returns, when the agent answers; others: start `true`, wait for its end",
        create,
        start,
    ),
    Figure(
        "create to first output",
        "ms",
        "Sandbox.create() until the first output of commands.run('echo') is here; others: as above",
        first_output,
        start,
    ),
    Figure("warm command", "ms", "commands.run('true') in a sandbox that has been used before", warm_command),
    Figure("upload", "MiB/s", f"files.write() of {TRANSFER_MIB} MiB", upload, rounds=10, quick_rounds=2),
    Figure("download", "MiB/s", f"files.read() of {TRANSFER_MIB} MiB", download, rounds=10, quick_rounds=2),
    _seldom(
        "pause",
        "sandbox.pause() of an idle sandbox: its processes are kept, its files are on disk",
        pauses.pause,
    ),
    _seldom("resume", "connect() to it and commands.run('true')", pauses.resume),
    _seldom("resume from files", "the same after pause(keep_memory=False)", pauses.reboot),
    _seldom(
        "snapshot",
        f"create_snapshot() of a sandbox that has just written {pauses.WRITTEN_MIB} MiB",
        pauses.snapshot,
    ),
    _seldom("create from a snapshot", "Sandbox.create() from it", pauses.begin),
    _seldom("fork", f"fork(count={pauses.FORKS}) of such a sandbox, for each of them", pauses.fork),
    _rate(1, 20),
    _rate(10, 50),
    _rate(50, 100),
    _memory("memory, private", "Private_* of an idle sandbox's process 1, with 100 running", private_mib),
    _memory("memory, cgroup", "what an idle sandbox's control group is charged with", cgroup_mib),
)
