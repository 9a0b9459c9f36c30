"""Locks by name."""

import asyncio
import gc
import weakref

from berm.control.locks import Locks


async def test_one_at_a_time_for_each_name() -> None:
    locks = Locks()
    async with locks.of("one"), locks.of("another"):
        assert locks.of("one").locked()
        waiting = asyncio.ensure_future(locks.of("one").acquire())
        await asyncio.sleep(0)
        assert not waiting.done()
    assert await waiting
    assert not locks.of("another").locked()


async def test_nothing_is_kept_of_a_name_that_nobody_uses() -> None:
    locks = Locks()
    async with locks.of("one"):
        known = weakref.ref(locks.of("one"))
        gc.collect()
        assert known() is not None
    gc.collect()
    assert known() is None
