"""One producer, many readers: the fastest reader sets the pace, and none can hold up the others for ever."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

from berm.agent.errors import AgentError, Kind

T = TypeVar("T")

HIGH_WATER = 256 << 10
LAG_LIMIT = 4 << 20


class Mailbox(Generic[T]):
    """What one reader has yet to take, in order. Its size is the sum of what `put` was told."""

    def __init__(self, on_room: Callable[[], None] = lambda: None) -> None:
        self.size = 0
        self._items: deque[tuple[T, int]] = deque()
        self._on_room = on_room
        self._waiter: asyncio.Future[bool] | None = None
        self._closed = False
        self._error: AgentError | None = None

    def put(self, item: T, size: int = 1) -> None:
        if not self._closed:
            self._items.append((item, size))
            self.size += size
            self._wake(True)

    def close(self) -> None:
        """The reader stops after what is queued."""
        self._closed = True
        self._wake(True)

    def cut(self, error: AgentError) -> None:
        """The reader fails now; what is queued is dropped."""
        if not self._closed:
            self._error = error
            self.take()
            self.close()

    def take(self) -> list[T]:
        """Everything queued, which is queued no longer. Raises the error of `cut`."""
        items = [item for item, _ in self._items]
        self._items.clear()
        self.size = 0
        return items

    def check(self) -> None:
        """Raise what `cut` was given."""
        if self._error:
            raise self._error

    async def drain(self, idle: float) -> AsyncIterator[T | None]:
        """Items as they come, None after each `idle` seconds without one, until close or cut."""
        while True:
            while self._items:
                item, size = self._items.popleft()
                self.size -= size
                self._on_room()
                yield item
            self.check()
            if self._closed:
                return
            if not await self._changed(idle):
                yield None

    async def _changed(self, idle: float) -> bool:
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_later(idle, self._wake, False)
        try:
            return await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

    def _wake(self, changed: bool) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(changed)


class Fanout(Generic[T]):
    """Gives every item to every mailbox; `on_room` is called when `has_room` may have changed.

    One reader holds the producer back through `has_room`. Of several, one that is LAG_LIMIT behind is cut
    off. With none, there is always room and items go nowhere.
    """

    def __init__(self, on_room: Callable[[], None]) -> None:
        self._on_room = on_room
        self._mailboxes: set[Mailbox[T]] = set()

    @property
    def has_room(self) -> bool:
        return not self._mailboxes or any(box.size < HIGH_WATER for box in self._mailboxes)

    def attach(self) -> Mailbox[T]:
        mailbox = Mailbox[T](self._on_room)
        self._mailboxes.add(mailbox)
        self._on_room()
        return mailbox

    def detach(self, mailbox: Mailbox[T]) -> None:
        self._mailboxes.discard(mailbox)
        self._on_room()

    def publish(self, item: T, size: int) -> None:
        for mailbox in tuple(self._mailboxes):
            mailbox.put(item, size)
            if mailbox.size > LAG_LIMIT:
                mailbox.cut(AgentError(Kind.TOO_SLOW, "this reader fell too far behind the output"))
                self.detach(mailbox)

    def close(self) -> None:
        """End every reader after what it has queued."""
        for mailbox in tuple(self._mailboxes):
            mailbox.close()
        self._mailboxes.clear()
        self._on_room()
