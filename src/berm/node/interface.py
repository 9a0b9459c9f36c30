"""What the layers above may ask of a machine that runs sandboxes."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from berm.models import LogLine, Running, SandboxSpec


class Node(Protocol):
    """One machine's engine.

    `start` must have returned before anything else is called; `close` leaves every sandbox running.
    A sandbox is in `running()` from the moment `create` returns (or `start`, for those that were
    already there) until it has ended, however it ended.
    """

    async def start(self) -> None:
        """Connect to the launcher and adopt the sandboxes that are running."""
        ...

    async def close(self) -> None: ...

    def running(self) -> Mapping[str, Running]:
        """The sandboxes that are running now, by id. Cheap, and current at every call."""
        ...

    async def create(self, spec: SandboxSpec) -> Running:
        """Start a sandbox; returns once its agent answers.

        Raises BermError: CONFLICT if the id is taken, UNAVAILABLE if the machine has no room or the
        launcher is gone, INTERNAL with the failing step otherwise. After an error nothing is left.
        """
        ...

    async def kill(self, sandbox_id: str) -> bool:
        """End a sandbox and free all it held; False if it was not running. Safe to call twice."""
        ...

    async def logs(self, sandbox_id: str) -> Sequence[LogLine]:
        """The log of a running sandbox, oldest first; its content is the sandbox's and not to be trusted."""
        ...

    async def run(self, sandbox_id: str, command: Sequence[str], output: Callable[[str], None]) -> int:
        """Run a command as root in a running sandbox, give its output line by line, return its exit code."""
        ...

    async def commit(self, sandbox_id: str) -> str:
        """End a sandbox and keep what it wrote as a new template layer; returns the layer's name."""
        ...

    def layer_path(self, name: str) -> Path:
        """The directory of a template layer on this machine, whether it is there yet or not.

        A layer is a root filesystem tree, or an overlay upper directory, with the image's own user ids.
        """
        ...

    def ended(self) -> AsyncIterator[str]:
        """Ids of sandboxes that end from now on, by themselves or by `kill`; each call watches for itself."""
        ...
