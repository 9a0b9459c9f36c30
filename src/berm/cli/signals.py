"""What signals do while a command works in a sandbox."""

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from queue import SimpleQueue
from types import FrameType

from berm.errors import BermError

Action = Callable[[], None]


@contextmanager
def aside() -> Iterator[Callable[[Action], None]]:
    """Give actions to a thread of their own, as signal handlers must: they cannot make an HTTP call."""
    queue: SimpleQueue[Action | None] = SimpleQueue()
    threading.Thread(target=_run_queued, args=(queue,), name="aside", daemon=True).start()
    try:
        yield queue.put
    finally:
        queue.put(None)


def _run_queued(queue: SimpleQueue[Action | None]) -> None:
    while action := queue.get():
        with suppress(BermError):
            action()


@contextmanager
def handling(actions: Mapping[signal.Signals, Action]) -> Iterator[None]:
    """While inside, a signal runs its action instead of what it did before."""
    before = {number: signal.signal(number, _handler(action)) for number, action in actions.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _handler(action: Action) -> Callable[[int, FrameType | None], None]:
    return lambda _number, _frame: action()


def leave(number: signal.Signals) -> None:
    """End the command by way of its context managers."""
    raise SystemExit(128 + number)


LEAVING = {number: partial(leave, number) for number in (signal.SIGTERM, signal.SIGHUP)}
