"""What it costs to stop a sandbox and to go on, and to begin others from it."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from e2b import Sandbox

from bench.machine import TEMPLATE

WRITTEN_MIB: Final = 100
FORKS: Final = 10
_WRITE: Final = f"head -c {WRITTEN_MIB}M /dev/urandom > written"


def pause(warm: Sandbox) -> Sequence[float]:
    took = _ms(warm.pause)
    warm.connect()
    return [took]


def resume(warm: Sandbox) -> Sequence[float]:
    warm.pause()
    return [_ms(lambda: warm.connect().commands.run("true"))]


def reboot(_warm: Sandbox) -> Sequence[float]:
    with Sandbox.create(TEMPLATE) as sandbox:
        sandbox.pause(keep_memory=False)
        return [_ms(lambda: sandbox.connect().commands.run("true"))]


def snapshot(_warm: Sandbox) -> Sequence[float]:
    with _writer() as sandbox:
        made: list[str] = []
        took = _ms(lambda: made.append(sandbox.create_snapshot().snapshot_id))
        Sandbox.delete_snapshot(made[0])
        return [took]


def begin(_warm: Sandbox) -> Sequence[float]:
    with _writer() as sandbox:
        name = sandbox.create_snapshot().snapshot_id
        made: list[Sandbox] = []
        took = _ms(lambda: made.append(Sandbox.create(name)))
        made[0].kill()
        Sandbox.delete_snapshot(name)
        return [took]


def fork(_warm: Sandbox) -> Sequence[float]:
    with _writer() as sandbox:
        made: list[Sandbox] = []
        took = _ms(
            lambda: made.extend(each for each in sandbox.fork(count=FORKS) if isinstance(each, Sandbox))
        )
        assert len(made) == FORKS
        for each in made:
            each.kill()
        return [took / FORKS]


@contextmanager
def _writer() -> Iterator[Sandbox]:
    with Sandbox.create(TEMPLATE) as sandbox:
        sandbox.commands.run(_WRITE)
        yield sandbox


def _ms(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000
