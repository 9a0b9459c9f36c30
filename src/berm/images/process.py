"""Run a program to its end: output line by line, a sentence when it fails, nothing left when cancelled."""

import asyncio
import os
import shutil
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

from berm.errors import BermError, Code
from berm.images.lines import Lines, Output

Failure = Callable[[Sequence[str], Sequence[str]], BermError]
"""Makes the error from the command and the last lines that it wrote."""

READ_LIMIT: Final = 8 * 1024 * 1024
"""Most bytes that `read` returns."""

_KEPT_LINES: Final = 5
_CHUNK: Final = 64 * 1024

# With a pid and a mount namespace of its own, nothing that a program starts or mounts can outlast it;
# the death signal makes that true even when this process is killed.
_DYING: Final = ("setpriv", "--pdeathsig", "KILL")
_CONTAINED: Final = (
    *_DYING,
    *("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"),
)


def ignore(_line: str) -> None:
    """An Output for what nobody needs to see."""


def failure(command: Sequence[str], lines: Sequence[str]) -> BermError:
    return BermError(Code.INTERNAL, f"{command[0]} failed: {' / '.join(lines) or 'it said nothing'}")


async def run(
    command: Sequence[str],
    output: Output = ignore,
    failed: Failure = failure,
    temporary: Path | None = None,
    descriptors: Sequence[int] = (),
) -> None:
    """Run a program as root in its own pid and mount namespace; both its streams go to `output`.

    `temporary` is the caller's directory for its temporary files, which stay there if it is killed.
    `descriptors` stay open in it.
    Raises BermError: NOT_OFFERED if it is not installed, what `failed` makes if its exit status is not 0.
    What `output` raises ends the program.
    """
    last = deque[str](maxlen=_KEPT_LINES)

    def line(text: str) -> None:
        last.append(text)
        output(text)

    out, err = Lines(line), Lines(line)
    status = await _execute(command, out.feed, err.feed, temporary, descriptors)
    out.close()
    err.close()
    if status:
        raise failed(command, last)


async def read(command: Sequence[str], failed: Failure = failure, descriptors: Sequence[int] = ()) -> bytes:
    """Run a program like `run` and return its standard output. Raises TOO_LARGE as well."""
    last = deque[str](maxlen=_KEPT_LINES)
    errors = Lines(last.append)
    taken = bytearray()

    def take(data: bytes) -> None:
        taken.extend(data[: READ_LIMIT + 1 - len(taken)])

    status = await _execute(command, take, errors.feed, None, descriptors)
    errors.close()
    if status:
        raise failed(command, last)
    if len(taken) > READ_LIMIT:
        raise BermError(Code.TOO_LARGE, f"{command[0]} printed more than {READ_LIMIT} bytes")
    return bytes(taken)


async def _execute(
    command: Sequence[str],
    stdout: Callable[[bytes], None],
    stderr: Callable[[bytes], None],
    temporary: Path | None,
    descriptors: Sequence[int],
) -> int:
    async with _started(command, temporary, descriptors) as process:
        assert process.stdout and process.stderr  # noqa: S101 - both are pipes
        await _together(_pump(process.stdout, stdout), _pump(process.stderr, stderr))
        return await process.wait()


async def _together(*work: Coroutine[Any, Any, None]) -> None:
    """Wait for all, or until one fails, as a reader of output may; then the others are ended."""
    tasks = [asyncio.ensure_future(item) for item in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(stream: asyncio.StreamReader, feed: Callable[[bytes], None]) -> None:
    while data := await stream.read(_CHUNK):
        feed(data)


def _containment() -> Sequence[str]:
    """Who is not root may not make namespaces, and only asks registries."""
    return _CONTAINED if os.geteuid() == 0 else _DYING


@asynccontextmanager
async def _started(
    command: Sequence[str], temporary: Path | None, descriptors: Sequence[int]
) -> AsyncIterator[Process]:
    if not shutil.which(command[0]):
        raise BermError(
            Code.NOT_OFFERED, f"{command[0]} is not installed", f"install the package that has {command[0]}"
        )
    environment = ["LC_ALL=C.UTF-8", *([f"TMPDIR={temporary}"] if temporary else [])]
    process = await asyncio.create_subprocess_exec(
        *_containment(),
        *("env", *environment),
        *command,
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
        pass_fds=descriptors,
    )
    try:
        yield process
    finally:
        await asyncio.shield(_end(process))


async def _end(process: Process) -> None:
    if process.returncode is None:
        _kill(process.pid)
        await process.communicate()


def _kill(pid: int) -> None:
    # unshare(1) itself is left to end by itself: it waits until its pid namespace is empty.
    for target in _children(pid) or [pid]:
        with suppress(ProcessLookupError):
            os.kill(target, signal.SIGKILL)


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
