"""Connections over which nothing passes, on real ones of the kernel's."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator

import pytest

from berm.node.egress import idle

SECONDS = 0.3


@pytest.fixture
async def pair() -> AsyncIterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    with near, far:
        yield near, far


async def served(sock: socket.socket) -> None:
    with idle.limited(sock, SECONDS):
        await asyncio.Event().wait()


async def test_one_over_which_nothing_passes_ends(pair: tuple[socket.socket, socket.socket]) -> None:
    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(served(pair[0]))


@pytest.mark.parametrize("sender", [0, 1])
async def test_one_with_a_byte_now_and_then_lives(
    pair: tuple[socket.socket, socket.socket], sender: int
) -> None:
    task, longest = asyncio.create_task(served(pair[0])), 0.0
    for _ in range(50):
        began = time.monotonic()
        pair[sender].send(b"x")
        await asyncio.sleep(SECONDS / 10)
        longest = max(longest, time.monotonic() - began)
    assert not task.done() or longest >= SECONDS
    await asyncio.wait([task])


async def test_one_that_is_over_is_watched_no_more(pair: tuple[socket.socket, socket.socket]) -> None:
    with idle.limited(pair[0], SECONDS):
        await asyncio.sleep(0)
    await asyncio.sleep(2 * SECONDS)
