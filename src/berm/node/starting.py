"""Starting one sandbox: what the launcher is told, what only the sandbox is told, and what it answers."""

import base64
import errno
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from berm.launcher import spec as wire
from berm.launcher.client import LauncherClient
from berm.models import File, Running, SandboxSpec
from berm.node import mounts
from berm.node.egress import lists
from berm.node.waiting import readable


class RefusedError(OSError):
    """A sandbox that cannot start for what its spec or its files are, not for a fault of the machine."""


@contextmanager
def control_sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Our end and the sandbox's end of the socket on which a new sandbox tells how it goes."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


async def ask(client: LauncherClient, spec: SandboxSpec, theirs: socket.socket) -> Running:
    """Have the launcher start a sandbox that talks on `theirs`, which is closed here.

    Raises OSError with the launcher's words, LauncherGoneError.
    """
    with theirs, _settings(spec) as settings:
        reply, _ = await client.call("create", theirs.fileno(), settings, **_launch_spec(spec).to_wire())
    return Running(spec.sandbox_id, **reply)


async def introduction(ours: socket.socket) -> int:
    """The sandbox's process 1 as a descriptor. Raises OSError with the step that failed."""
    _, fds = await _packet(ours)
    if len(fds) != 1:
        raise OSError(errno.EPROTO, "it did not say which process it is")
    return fds[0]


async def ready(ours: socket.socket) -> None:
    """Wait until the sandbox's agent answers. Raises OSError with the step that failed."""
    await _packet(ours)


def _launch_spec(spec: SandboxSpec) -> wire.LaunchSpec:
    resources = spec.resources
    return wire.LaunchSpec(
        sandbox_id=spec.sandbox_id,
        layers=spec.layers,
        cpu_count=resources.cpu_count,
        memory_mb=resources.memory_mb,
        disk_mb=resources.disk_mb,
        pids=resources.pids,
        internet=spec.allow_internet,
        mounts=tuple(map(mounts.to_wire, mounts.all_of(spec))),
        generation=spec.generation,
        policy=lists.policy(spec.egress) if spec.egress else None,
    )


@contextmanager
def _settings(spec: SandboxSpec) -> Iterator[int]:
    """The agent's settings as an anonymous file: the launcher hands it on and never reads it."""
    fd = os.memfd_create("agent", os.MFD_CLOEXEC)
    try:
        settings = {
            "access_token": spec.access_token,
            "env": dict(spec.env),
            "user": spec.user,
            "workdir": spec.workdir,
            "cpu_count": spec.resources.cpu_count,
            "memory_mb": spec.resources.memory_mb,
            "disk_mb": spec.resources.disk_mb,
            "files": [_file(file) for file in spec.files],
        }
        with open(fd, "wb", closefd=False) as file:
            file.write(json.dumps(settings).encode())
        os.lseek(fd, 0, os.SEEK_SET)
        yield fd
    finally:
        os.close(fd)


def _file(file: File) -> dict[str, Any]:
    return {**asdict(file), "content": base64.b64encode(file.content).decode()}


async def _packet(sock: socket.socket) -> tuple[dict[str, Any], list[int]]:
    await readable(sock)
    packet = wire.receive(sock)
    if packet is None:
        raise OSError(errno.EPIPE, "it ended without a word")
    if "error" in packet[0]:
        raise (RefusedError if packet[0].get("refused") else OSError)(packet[0]["error"])
    return packet
