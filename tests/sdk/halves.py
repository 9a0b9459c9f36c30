"""Both halves of the Python SDK, used alike, so that one test holds for the two."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal
from e2b import AsyncSandbox, Sandbox

_END = object()


class Blocking:
    """Something of the asynchronous half, whose calls block as those of the other half do.

    Its loop runs in another thread all the while, so callbacks come between the calls.
    """

    def __init__(self, target: Any, portal: BlockingPortal) -> None:
        self._target = target
        self._portal = portal

    def __getattr__(self, name: str) -> Any:
        return self._facing(getattr(self._target, name))

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        async def call() -> Any:
            result = self._target(*arguments, **options)
            return await result if isinstance(result, Awaitable) else result

        return self._facing(self._portal.call(call))

    def _facing(self, value: Any) -> Any:
        if isinstance(value, AsyncIterator):
            return self._items(value)
        if callable(value) or type(value).__module__.startswith("e2b.sandbox_async"):
            return Blocking(value, self._portal)
        return value

    def _items(self, items: AsyncIterator[Any]) -> Iterator[Any]:
        async def following() -> Any:
            return await anext(items, _END)

        while (item := self._portal.call(following)) is not _END:
            yield item


@contextmanager
def synchronous() -> Iterator[Any]:
    """Sandbox."""
    yield Sandbox


@contextmanager
def asynchronous() -> Iterator[Any]:
    """AsyncSandbox, used as Sandbox is."""
    with start_blocking_portal() as portal:
        yield Blocking(AsyncSandbox, portal)


def shown_to(sandbox: Any, take: Callable[[bytes], object] = lambda _: None) -> dict[str, Any]:
    """How a terminal's output is asked for: by the asynchronous half when it is made, else in wait()."""
    return {"on_data": take} if isinstance(sandbox, Blocking) else {}
