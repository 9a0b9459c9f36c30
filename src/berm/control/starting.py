"""Start commands, ready commands and health checks: what runs in a sandbox before it is handed out."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Final, Protocol

from berm.errors import BermError, Code
from berm.images.lines import Output
from berm.images.process import ignore
from berm.node.interface import Command, Node
from berm.templates.plan import Health

_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 1.0
"""Seconds between two tries of a ready command: nothing tells when it would succeed."""


class StartError(BermError):
    """The start command did not run, or did not get ready."""


class HealthError(BermError):
    """The health check failed."""


class Program(Protocol):
    """What runs in a sandbox from its start, and as whom: of a template, or of a sandbox that had it."""

    @property
    def env(self) -> Mapping[str, str]: ...
    @property
    def user(self) -> str: ...
    @property
    def workdir(self) -> str: ...
    @property
    def start_cmd(self) -> str: ...
    @property
    def ready_cmd(self) -> str: ...


async def start(
    node: Node, sandbox_id: str, template: Program, seconds: float, output: Output = ignore
) -> None:
    """Run a template's start command and wait until its ready command exits with 0.

    Raises StartError TIMED_OUT if that takes more than `seconds`, INTERNAL if it cannot be run.
    """
    try:
        async with asyncio.timeout(seconds):
            await _start(node, sandbox_id, template, output)
    except TimeoutError:
        raise StartError(
            Code.TIMED_OUT,
            f"the ready command {template.ready_cmd!r} did not succeed within {seconds:g} s",
            "does the start command run, and does the ready command exit with 0 by then?",
        ) from None
    except BermError as error:
        raise StartError(error.code, f"the start command did not run: {error.message}", error.hint) from error


async def _start(node: Node, sandbox_id: str, template: Program, output: Output) -> None:
    if template.start_cmd:
        output(f"Start command: {template.start_cmd}")
        await node.begin(sandbox_id, _shell(template, template.start_cmd))
    if template.ready_cmd:
        output(f"Ready command: {template.ready_cmd}")
        ready = _shell(template, template.ready_cmd)
        await _until(lambda: _succeeds(node, sandbox_id, ready, output), _FIRST_PAUSE)


async def check(node: Node, sandbox_id: str, template: Program, health: Health, output: Output) -> None:
    """Run a health check until it succeeds once.

    Raises HealthError after its retries, and at once if it cannot be run.
    """
    command = replace(_shell(template, ""), argv=health.argv)
    output(f"Health check: {' '.join(health.argv)}")
    for attempt in range(max(health.retries, 1)):
        if attempt:
            await asyncio.sleep(min(health.start_interval, health.interval))
        if await _healthy(node, sandbox_id, command, health.timeout, output):
            return
    raise HealthError(
        Code.INVALID_ARGUMENT,
        f"the health check failed {max(health.retries, 1)} times: {' '.join(health.argv)}",
        "see the build's log for what it printed",
    )


async def _healthy(node: Node, sandbox_id: str, command: Command, seconds: float, output: Output) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await _succeeds(node, sandbox_id, command, output)
    except TimeoutError:
        output(f"no answer within {seconds:g} s")
        return False
    except BermError as error:
        raise HealthError(error.code, f"the health check did not run: {error.message}", error.hint) from error


async def _succeeds(node: Node, sandbox_id: str, command: Command, output: Output) -> bool:
    return await node.run(sandbox_id, command, output) == 0


async def _until(succeeds: Callable[[], Awaitable[bool]], pause: float) -> None:
    while not await succeeds():
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


def _shell(template: Program, text: str) -> Command:
    argv = ("/bin/bash", "-l", "-c", text)
    return Command(argv, template.user, template.workdir, template.env)
