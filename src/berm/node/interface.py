"""What the layers above may ask of a machine that runs sandboxes."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from berm.models import (
    Egress,
    Layer,
    LogLine,
    Machine,
    MachineLoad,
    Paused,
    Running,
    SandboxSpec,
    Usage,
    VolumeEntry,
)
from berm.templates.plan import Copy, Directory


@dataclass(frozen=True, slots=True)
class Command:
    """A program to run in a sandbox, and as whom."""

    argv: Sequence[str]
    user: str = "root"
    workdir: str = ""
    """Empty means the user's home."""
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Copying:
    """A copy, or the making of a directory, to carry out onto `layers`, bottom first.

    A copy is from the layers `source`, if the action has a base, or from the received files `files`.
    """

    action: Copy | Directory
    layers: tuple[str, ...]
    source: tuple[str, ...] = ()
    files: str = ""


@dataclass(frozen=True, slots=True)
class Attributes:
    """Owner and mode; None leaves one as it is, or as is usual. Ids are the image's, 0 to 65535."""

    uid: int | None = None
    gid: int | None = None
    mode: int | None = None

    def over(self, others: "Attributes") -> "Attributes":
        """These, and of `others` what is None here."""
        pairs = ((self.uid, others.uid), (self.gid, others.gid), (self.mode, others.mode))
        return Attributes(*(other if own is None else own for own, other in pairs))


class VolumeFile(Protocol):
    """A file of a volume, open; it may change meanwhile."""

    size: int
    """Bytes, when it was opened."""

    async def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes; none at its end."""
        ...

    def close(self) -> None: ...


class VolumeContent(Protocol):
    """What is in a volume. Sandboxes write to it at the same time, and may mean harm.

    Paths begin at the volume's root, with or without a slash, and lead nowhere else; bytes that are no UTF-8
    are escaped as os.fsdecode does it. All calls raise BermError: NOT_FOUND for a path, or a volume, that is
    not there, INVALID_ARGUMENT for one that is of the wrong kind, NO_SPACE, UNAVAILABLE where a sandbox is in
    the way.
    """

    async def look(self, path: str) -> VolumeEntry:
        """What is at a path; a link at its end is not followed."""
        ...

    async def list(self, path: str, depth: int) -> Sequence[VolumeEntry]:
        """What is in a directory, `depth` layers deep; a directory is before its content. TOO_LARGE."""
        ...

    async def change(self, path: str, wanted: Attributes) -> VolumeEntry: ...

    async def make_directory(self, path: str, wanted: Attributes, *, force: bool) -> VolumeEntry:
        """CONFLICT if anything is there; with `force` a directory may be, and those above are made."""
        ...

    async def remove(self, path: str) -> None:
        """Remove a file, a link, or a directory with all that is in it."""
        ...

    async def open(self, path: str) -> VolumeFile:
        """The caller closes it."""
        ...

    async def write(
        self, path: str, body: AsyncIterator[bytes], wanted: Attributes, *, force: bool | None
    ) -> VolumeEntry:
        """Make a file, or replace one, which is there with all of its content or not at all.

        If `force` is False, CONFLICT when it exists; if it is True, directories above are made.
        """
        ...


class Volumes(Protocol):
    """The volumes of a machine, by id. To a `Mount`, one is the directory `volumes/ID`."""

    def names(self) -> Collection[str]: ...

    async def make(self, volume_id: str) -> None:
        """Make an empty one. Raises BermError NO_SPACE."""
        ...

    async def drop(self, volume_id: str) -> None:
        """Remove one with all that is in it; safe to call again."""
        ...

    def content(self, volume_id: str) -> VolumeContent: ...


class Node(Protocol):
    """One machine's engine.

    `start` must have returned before anything else is called; `close` leaves every sandbox running.
    A sandbox is in `running()` from the moment `create` returns (or `start`, for those that were
    already there) until it has ended, however it ended, or is paused. A paused one is in `paused()`, also
    after a restart of the node or the machine; the latter, and whatever else ends its processes, leaves it
    with its files only.
    """

    @property
    def volumes(self) -> Volumes: ...

    @property
    def node_id(self) -> str:
        """The same as long as the state directory is where it is."""
        ...

    @property
    def machine(self) -> Machine:
        """What this machine is."""
        ...

    async def load(self) -> MachineLoad:
        """How busy this machine is now, with all that runs on it."""
        ...

    async def start(self) -> None:
        """Connect to the launcher and adopt the sandboxes that are running."""
        ...

    async def close(self) -> None: ...

    def running(self) -> Mapping[str, Running]:
        """The sandboxes that are running now, by id. Cheap, and current at every call."""
        ...

    def paused(self) -> Mapping[str, Paused]:
        """The sandboxes that are paused now, by id. Cheap, and current at every call."""
        ...

    async def pause(self, sandbox_id: str, generation: int, *, memory: bool) -> None:
        """Stop a running sandbox and keep its files, and with `memory` its processes as they are.

        Its files are on disk when this returns; `generation` is kept with them. Raises BermError NOT_FOUND
        if it does not run, or ends meanwhile, CONFLICT if its processes do not stop; it then goes on.
        """
        ...

    async def answers(self, sandbox_id: str) -> bool:
        """Whether the agent of a running sandbox answers soon; not if it does not run."""
        ...

    async def resume(self, sandbox_id: str, generation: int) -> Running:
        """Let a paused sandbox's processes go on.

        Raises BermError CONFLICT if the node has it paused with another generation, or not at all:
        what it would go on with is not what was paused last. NOT_FOUND if it has no processes any more.
        """
        ...

    async def snapshot(self, sandbox_id: str) -> Layer:
        """Keep what a sandbox has written so far as a new template layer; one that runs goes on after it.

        Nothing of its files is copied where the file system can share them. Raises BermError NOT_FOUND,
        NO_SPACE, CONFLICT if its processes do not stop for that moment.
        """
        ...

    async def drop_memory(self, sandbox_id: str) -> None:
        """End the processes of a paused sandbox; its files stay. Safe to call again."""
        ...

    async def create(self, spec: SandboxSpec) -> Running:
        """Start a sandbox; returns once its agent answers.

        With a `generation` it is one that is paused without processes, and is in `paused()` again after an
        error. CONFLICT then also says that the node has its files with another generation.

        Raises BermError: CONFLICT if the id is taken, UNAVAILABLE if the machine has no room or the
        launcher is gone, INTERNAL with the failing step otherwise. After an error nothing is left.
        """
        ...

    async def kill(self, sandbox_id: str) -> bool:
        """End a sandbox, paused or not, and free all it held; False if there was none. Safe to call twice."""
        ...

    async def police(self, sandbox_id: str, egress: Egress) -> None:
        """Let a running sandbox reach this in place of what it could: connections that it no longer may
        have are cut by the time this returns.

        Raises BermError INVALID_ARGUMENT for a proxy that is not public, UNAVAILABLE if the sandbox does not
        run, INTERNAL if the firewall refuses: then all is as before.
        """
        ...

    async def trust(self, sandbox_id: str, access_token: str | None) -> None:
        """Have programs that start in a running sandbox from now on trust the certificates by which headers
        are set under TLS; one that is created with rules does so already.

        What a sandbox makes of it is its own affair: where it does not work, its programs refuse the
        certificates, and a log says so. Raises BermError UNAVAILABLE if the sandbox does not run.
        """
        ...

    async def logs(self, sandbox_id: str) -> Sequence[LogLine]:
        """The log of a sandbox, oldest first; its content is the sandbox's and not to be trusted.

        Of one that has ended there is the last part for a while.
        """
        ...

    async def usage(self, sandbox_ids: Collection[str]) -> Mapping[str, Usage]:
        """What sandboxes use now, by id, as the kernel counts it; nothing of those that do not run.

        Asked again and again, it also keeps their logs from growing beyond what `logs` tells of them.
        """
        ...

    async def run(self, sandbox_id: str, command: Command, output: Callable[[str], None]) -> int:
        """Run a command in a running sandbox, give its output line by line, return its exit code.

        -1 stands for an end by a signal. Raises BermError UNAVAILABLE if the sandbox ends meanwhile,
        INVALID_ARGUMENT with the agent's words if there is no such user or directory. A cancelled call
        leaves the command running.
        """
        ...

    async def begin(self, sandbox_id: str, command: Command) -> None:
        """Start a command in a running sandbox and leave it running. Raises what `run` raises."""
        ...

    async def commit(self, sandbox_id: str) -> Layer:
        """End a sandbox and keep what it wrote as a new template layer. Nothing of its files is copied."""
        ...

    async def copy(self, copying: Copying, output: Callable[[str], None]) -> Layer:
        """Make a layer by copying files, or of a directory that is missing, without running anything.

        Raises BermError NOT_FOUND for a source, user or group that is not there, INVALID_ARGUMENT for
        what cannot be copied where it should go, NO_SPACE.
        """
        ...

    async def settle(self) -> None:
        """Wait until every layer made so far is whole on disk: only then may one be recorded as usable.

        Once at the end of a build is enough; what the machine still has in memory is written out.
        """
        ...

    async def new_layer(self, name: str) -> Path:
        """Where the tree of a layer that stands on no other is to be made; it is a layer once it is there.

        What is beside it, and a tree that is not there at the next `start`, is removed.
        """
        ...

    def layer_path(self, name: str) -> Path:
        """The directory of a template layer on this machine, whether it is there yet or not.

        A layer is a root filesystem tree, or an overlay upper directory, with the image's own user ids.
        """
        ...

    def has_layer(self, name: str) -> bool: ...

    async def drop_layers(self, names: Collection[str]) -> None:
        """Remove layers that no sandbox uses. Those that are not there are no error."""
        ...

    def layers(self) -> Collection[str]:
        """The layers there are."""
        ...

    async def receive(self, name: str, body: AsyncIterator[bytes]) -> None:
        """Keep uploaded files under a name: a tar archive, compressed with gzip or not.

        Raises BermError INVALID_ARGUMENT for one that is broken or holds what must not be in it (paths that
        lead out, devices), TOO_LARGE, NO_SPACE; then nothing is kept.
        """
        ...

    def has_files(self, name: str) -> bool:
        """Whether files were received under this name."""
        ...

    async def drop_files(self, names: Collection[str]) -> None: ...

    def files(self) -> Mapping[str, float]:
        """What was received, with the time of its last use (seconds since 1970)."""
        ...

    def ended(self) -> AsyncIterator[str]:
        """Ids of sandboxes that end from now on, by themselves or by `kill`; each call watches for itself.

        A paused one ends by `kill` alone.
        """
        ...

    def departed(self) -> AsyncIterator[str]:
        """Ids of sandboxes that can no longer be reached from now on: those of `ended`, and those paused."""
        ...
