import asyncio
import logging

import pytest

from berm.control.tasks import Tasks


async def test_finish_goes_on_when_the_caller_is_cancelled() -> None:
    tasks, begun, go, done = Tasks(), asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        await go.wait()
        done.set()

    caller = asyncio.create_task(tasks.finish(work()))
    await begun.wait()
    caller.cancel()
    go.set()
    await tasks.drain()
    assert done.is_set()


async def test_a_failure_that_nobody_waits_for_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    tasks = Tasks()

    async def fail() -> None:
        raise KeyError("lost")

    with caplog.at_level(logging.ERROR):
        tasks.spawn(fail())
        await tasks.drain()
        await asyncio.sleep(0)
    assert "a background task failed" in caplog.text
    assert "lost" in caplog.text


async def test_cancel_stops_what_is_running() -> None:
    tasks = Tasks()
    task = tasks.begin(asyncio.Event().wait())
    await tasks.cancel()
    assert task.cancelled()
