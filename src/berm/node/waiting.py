"""Waiting for descriptors that asyncio has no streams for."""

import asyncio
import socket


async def readable(source: int | socket.socket) -> None:
    """Wait until there is something to read; for a pidfd, until its process ends (pidfd_open(2))."""
    loop = asyncio.get_running_loop()
    there = asyncio.Event()
    loop.add_reader(source, there.set)
    try:
        await there.wait()
    finally:
        loop.remove_reader(source)
