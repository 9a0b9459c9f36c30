"""The log of one build while it goes on: lines come without waiting, and are written in order."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from berm.control.states import now
from berm.images.lines import Output
from berm.store.builds import BuildLine

_HIDDEN: Final = "***"
_AT_ONCE: Final = 1000
"""Most lines in one transaction."""
_WAITING: Final = 20_000
"""Most lines that wait to be written."""

LINES: Final = 200_000
"""Most lines of one build; what comes after is dropped, and said to be."""


@dataclass(frozen=True, slots=True)
class BuildLog:
    """Takes lines; what is in `secrets` is never among them."""

    queue: asyncio.Queue[BuildLine | None]
    secrets: tuple[str, ...] = ()

    def put(self, message: str, step: str | None = None, level: str = "info") -> None:
        if self.queue.qsize() > _WAITING:
            return  # a step that prints faster than can be written is cut, not waited for
        for secret in self.secrets:
            message = message.replace(secret, _HIDDEN)
        self.queue.put_nowait(BuildLine(now(), message, level, step))

    def step(self, name: str) -> Output:
        """An Output for the lines of one step."""
        return lambda message: self.put(message, name)


Write = Callable[[list[BuildLine]], Awaitable[None]]


@asynccontextmanager
async def writing(write: Write, secrets: Collection[bytes] = ()) -> AsyncIterator[BuildLog]:
    """A log whose lines have all gone to `write` when the block has ended."""
    log = BuildLog(asyncio.Queue(), _texts(secrets))
    writer = asyncio.create_task(_pump(log.queue, write))
    try:
        yield log
    finally:
        log.queue.put_nowait(None)
        await asyncio.shield(writer)


def _texts(secrets: Collection[bytes]) -> tuple[str, ...]:
    """The lines of secrets as they could be printed, the longest first: none shows a part of another."""
    lines = {line.strip() for secret in secrets for line in secret.decode(errors="replace").splitlines()}
    return tuple(sorted((line for line in lines if len(line) >= 4), key=len, reverse=True))


async def _pump(queue: asyncio.Queue[BuildLine | None], write: Write) -> None:
    written = 0
    while lines := await _next(queue):
        if written < LINES:
            await write(_bounded(lines, LINES - written))
        written += len(lines)


async def _next(queue: asyncio.Queue[BuildLine | None]) -> list[BuildLine]:
    """All lines that are waiting, at least one; none at the end."""
    lines: list[BuildLine] = []
    line = await queue.get()
    while line is not None:
        lines.append(line)
        if len(lines) == _AT_ONCE or queue.empty():
            return lines
        line = queue.get_nowait()
    if lines:
        queue.put_nowait(None)
    return lines


def _bounded(lines: list[BuildLine], room: int) -> list[BuildLine]:
    if len(lines) <= room:
        return lines
    return [
        *lines[:room],
        BuildLine(lines[room].timestamp, f"the log ends here: it has {LINES} lines", "warn"),
    ]
