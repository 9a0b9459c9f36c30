"""What tests of a node share: specs of small sandboxes, what is said in them, what is left of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from berm import ids
from berm.config import Config
from berm.errors import BermError, Code
from berm.models import Resources, SandboxSpec
from berm.node.interface import Command
from berm.node.local import LocalNode

LAYER = "small"


def spec(*layers: str, **changes: Any) -> SandboxSpec:
    wanted = SandboxSpec(
        sandbox_id=ids.sandbox_id(),
        layers=layers or (LAYER,),
        resources=Resources(memory_mb=256, disk_mb=64),
        allow_internet=False,
        env={"COLOUR": "green"},
        user="root",
        workdir="/",
        access_token=ids.access_token(),
    )
    return replace(wanted, **changes)


def shell(script: str, **changes: Any) -> Command:
    return replace(Command(("/bin/sh", "-c", script)), **changes)


async def said(node: LocalNode, sandbox_id: str, script: str) -> list[str]:
    """The output of a script that ends well."""
    lines: list[str] = []
    assert await node.run(sandbox_id, shell(script), lines.append) == 0, lines
    return lines


async def ran(node: LocalNode, wanted: SandboxSpec, script: str) -> list[str]:
    """The output of a script in a sandbox of its own."""
    await node.create(wanted)
    try:
        return await said(node, wanted.sandbox_id, script)
    finally:
        await node.kill(wanted.sandbox_id)


async def layer_of(node: LocalNode, script: str, *layers: str) -> str:
    """The layer that a script leaves on others."""
    wanted = spec(*layers, kept=True)
    await node.create(wanted)
    await said(node, wanted.sandbox_id, script)
    return (await node.commit(wanted.sandbox_id)).name


def storage(machine: Config) -> set[str]:
    """The sandboxes that hold files."""
    return {path.name for path in (machine.pool_dir / "sandboxes").glob("[!.]*")}


def unfinished(machine: Config) -> set[Path]:
    """What is half-made or prepared for nobody."""
    pool = machine.pool_dir
    return {*pool.glob("branches/*"), *pool.glob("layers/.*"), *pool.glob("caches/.*")}


@contextmanager
def refused(code: Code, words: str) -> Iterator[None]:
    with pytest.raises(BermError, match=words) as failure:
        yield
    assert failure.value.code is code
