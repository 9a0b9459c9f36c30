"""Carrying out one step: a command in a sandbox, or a copy without one; what it leaves is a layer."""

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from berm import ids, models
from berm.control.provision import add_account, added_account
from berm.errors import BermError, Code
from berm.images.lines import Output
from berm.models import File, Layer, Resources, SandboxSpec
from berm.node.interface import Command, Copying, Node
from berm.templates.plan import Account, Action, Base, Copy, Directory, Mount, Run

_KEPT_LINES: Final = 10
"""Of a failed command's output, in the error."""


class StepError(BermError):
    """A step that failed by what it does, not by a fault of the machine."""

    def __init__(self, message: str, step: str, hint: str = "") -> None:
        super().__init__(Code.INVALID_ARGUMENT, message, hint)
        self.step = step


def files_name(team_id: str, files_hash: str) -> str:
    """What the node knows a team's uploaded files by."""
    return f"{team_id}-{files_hash}"


@dataclass(frozen=True, slots=True)
class Ask:
    """What a step may use: the team's files and caches, limits, secrets by id."""

    team_id: str
    resources: Resources
    secrets: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    def files(self, files_hash: str) -> str:
        """The name of uploaded files."""
        return files_name(self.team_id, files_hash)

    def cache(self, name: str) -> str:
        """The name of a kept directory."""
        return f"{self.team_id}-{hashlib.sha256(name.encode()).hexdigest()[:32]}"


@dataclass(frozen=True, slots=True)
class Stand:
    """Where a step stands: the layers under it, and those of the bases it takes files from."""

    layers: tuple[str, ...]
    sources: Mapping[Base, tuple[str, ...]]


def exclusive(action: Action, ask: Ask) -> list[str]:
    """The kept directories that nobody else may use meanwhile (`sharing=locked` or `private` of a cache)."""
    mounts = action.mounts if isinstance(action, Run) else ()
    return [ask.cache(m.id or m.target) for m in mounts if m.kind == "cache" and m.sharing != "shared"]


async def carry_out(node: Node, action: Action, stand: Stand, ask: Ask, output: Output) -> Layer:
    """Make the layer of one action. Raises BermError; StepError's `step` is left empty here."""
    match action:
        case Run():
            return await _run(node, action, stand, ask, output)
        case Account(name=name):
            return await _run(node, Run(add_account(name)), stand, ask, output)
        case Directory():
            return await node.copy(Copying(action, stand.layers), output)
        case Copy():
            source = stand.sources[action.base] if action.base else ()
            files = ask.files(action.files_hash) if action.files_hash else ""
            return await node.copy(Copying(action, stand.layers, source, files), output)


async def _run(node: Node, action: Run, stand: Stand, ask: Ask, output: Output) -> Layer:
    secrets = _secrets(action, ask)
    spec = _spec(action, stand, ask, secrets)
    last = deque[str](maxlen=_KEPT_LINES)
    await node.create(spec)
    try:
        status = await _command(node, spec.sandbox_id, action, secrets, _keeping(last, output))
        if status:
            raise _failed(action, f"exit status {status}", last)
        return await node.commit(spec.sandbox_id)
    finally:
        await asyncio.shield(node.kill(spec.sandbox_id))


async def _command(
    node: Node, sandbox_id: str, action: Run, secrets: Mapping[Mount, bytes], output: Output
) -> int:
    hidden = {m.env: value.decode(errors="surrogateescape") for m, value in secrets.items() if m.env}
    env = {**action.args, **action.env, **hidden}
    try:
        return await node.run(sandbox_id, Command(action.argv, action.user, action.workdir, env), output)
    except BermError as error:
        if error.code is Code.INVALID_ARGUMENT:
            raise _failed(action, error.message, ()) from error
        if error.code is Code.UNAVAILABLE:
            raise _failed(action, "the sandbox ended: did it run out of memory?", ()) from error
        raise


def _keeping(last: deque[str], output: Output) -> Output:
    def line(text: str) -> None:
        last.append(text)
        output(text)

    return line


def _failed(action: Run, why: str, last: Sequence[str]) -> StepError:
    said = "".join(f"\n{line}" for line in last)
    if account := added_account(action.argv):
        return StepError(
            f"failed to add the account {account}: {why}{said}", "", "an image needs a shell, /bin/sh"
        )
    return StepError(f"failed to run command '{action.argv[-1]}': command failed: {why}{said}", "")


def _spec(action: Run, stand: Stand, ask: Ask, secrets: Mapping[Mount, bytes]) -> SandboxSpec:
    return SandboxSpec(
        sandbox_id=ids.sandbox_id(),
        layers=stand.layers,
        resources=ask.resources,
        allow_internet=action.network,
        env={},
        user="root",
        workdir="/",
        access_token=ids.access_token(),
        kept=True,
        mounts=tuple(_MOUNTS[m.kind](m, stand, ask) for m in action.mounts if m.kind in _MOUNTS),
        files=tuple(
            File(m.target, content, m.mode, m.uid, m.gid) for m, content in secrets.items() if not m.env
        ),
    )


def _secrets(action: Run, ask: Ask) -> dict[Mount, bytes]:
    wanted = [mount for mount in action.mounts if mount.kind == "secret"]
    for mount in wanted:
        if mount.required and mount.id not in ask.secrets:
            raise StepError(
                f"the secret {mount.id!r} was not given", "", f"give it: --secret id={mount.id},..."
            )
    return {mount: ask.secrets[mount.id] for mount in wanted if mount.id in ask.secrets}


def _bind(mount: Mount, stand: Stand, ask: Ask) -> models.Mount:
    path = mount.source.strip("/")
    if mount.base:
        return models.Mount(mount.target, stand.sources[mount.base], path=path, read_only=mount.read_only)
    directory = f"files/{ask.files(mount.files_hash)}"
    return models.Mount(mount.target, directory=directory, path=path, read_only=mount.read_only)


def _cache(mount: Mount, _stand: Stand, ask: Ask) -> models.Mount:
    name = ask.cache(mount.id or mount.target)
    return models.Mount(
        mount.target,
        directory=name,
        read_only=mount.read_only,
        mode=mount.mode,
        uid=mount.uid,
        gid=mount.gid,
    )


def _memory(mount: Mount, _stand: Stand, ask: Ask) -> models.Mount:
    size = mount.size_mb or max(ask.resources.memory_mb // 2, 1)
    return models.Mount(mount.target, size_mb=size, mode=mount.mode, uid=mount.uid, gid=mount.gid)


_MOUNTS: Mapping[str, Callable[[Mount, Stand, Ask], models.Mount]] = {
    "bind": _bind,
    "cache": _cache,
    "tmpfs": _memory,
}
