"""Watching a directory: inotify events made into the wire's, subdirectories included if asked."""

import asyncio
import errno
import os
import secrets
from contextlib import suppress
from os.path import join
from typing import Protocol, Self

from berm.agent import inotify, trees
from berm.agent._gen.filesystem_pb import EntryInfo, EventType, FilesystemEvent
from berm.agent.entries import describe
from berm.agent.errors import AgentError, Kind, printable
from berm.agent.fanout import Mailbox
from berm.agent.inotify import Event
from berm.agent.users import Names

_MAX_QUEUED = 16384
# The kernel queues as many events (/proc/sys/fs/inotify/max_queued_events), of at most 272 bytes each.
_MAX_READS = 80
_NETWORK = {0x6969: "NFS", 0x517B: "SMB", 0xFF534D42: "CIFS", 0xFE534D42: "SMB", 0x65735546: "FUSE"}
_TYPES = (
    (inotify.CREATE | inotify.MOVED_TO, EventType.CREATE),
    (inotify.MODIFY, EventType.WRITE),
    (inotify.DELETE | inotify.DELETE_SELF, EventType.REMOVE),
    (inotify.MOVED_FROM | inotify.MOVE_SELF, EventType.RENAME),
    (inotify.ATTRIB, EventType.CHMOD),
)
_WANTED = sum(mask for mask, _ in _TYPES)
_WITH_ENTRY = {EventType.CREATE, EventType.WRITE, EventType.CHMOD}
_ROOT = ""
_MAX_DEPTH = 4096


class Options(Protocol):
    """The fields WatchDir and CreateWatcher requests share."""

    recursive: bool
    include_entry: bool
    allow_network_mounts: bool


class Watch:
    """A watch, active once constructed. Who falls _MAX_QUEUED events behind gets an error, never a gap."""

    def __init__(self, root: str, options: Options) -> None:
        """Raises OSError or AgentError."""
        if not options.allow_network_mounts:
            _refuse_network(root)
        self.events = Mailbox[FilesystemEvent]()
        self._root = root
        self._recursive = options.recursive
        self._include_entry = options.include_entry
        self._directories: dict[int, str] = {}
        self._announced: set[str] = set()
        self._fd = inotify.init()
        asyncio.get_running_loop().add_reader(self._fd, self._pump)
        try:
            self._cover(_ROOT, 0)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)

    def take(self) -> list[FilesystemEvent]:
        """All that has happened since the last call, up to now. Raises AgentError if some was lost."""
        self._pump()
        self.events.check()
        return self.events.take()

    def _cover(self, directory: str, flags: int) -> None:
        self._directories[self._add(directory, flags)] = directory
        below = [directory] if self._recursive else []
        while below:
            parent = below.pop()
            found = [join(parent, name) for name in _subdirectories(join(self._root, parent))]
            below += [directory for directory in found if self._cover_found(directory)]

    def _cover_found(self, directory: str) -> bool:
        try:
            self._directories[self._add(directory, inotify.DONT_FOLLOW)] = directory
        except (FileNotFoundError, NotADirectoryError):
            return False  # gone or replaced since it was seen
        return True

    def _add(self, directory: str, flags: int) -> int:
        path = join(self._root, directory) if directory else self._root
        try:
            return inotify.add_watch(self._fd, path, _WANTED | inotify.ONLYDIR | flags)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise AgentError(Kind.EXHAUSTED, "no more directories can be watched on this machine") from error

    def _pump(self) -> None:
        for _ in range(_MAX_READS):
            events = list(inotify.read(self._fd))
            if not events:
                self._announced.clear()
                return
            for event in events:
                self._handle(event)

    def _handle(self, event: Event) -> None:
        if event.mask & inotify.Q_OVERFLOW:
            self._lose("events came faster than they were read")
        elif event.mask & inotify.IGNORED:
            self._directories.pop(event.watch, None)
        elif (directory := self._directories.get(event.watch)) is not None and (
            event.name or directory == _ROOT
        ):
            self._report(event.mask, join(directory, event.name))

    def _place(self, event: Event) -> None:
        directory = self._directories.get(event.watch)
        # What happens to a subdirectory itself is told by its parent's watch as well.
        if directory is not None and (event.name or directory == _ROOT):
            self._report(event.mask, join(directory, event.name))

    def _report(self, mask: int, name: str) -> None:
        kind = next(kind for bits, kind in _TYPES if mask & bits)
        if kind != EventType.CREATE or name not in self._announced:
            self._emit(kind, name)
        self._announced.discard(name)
        if self._recursive and mask & inotify.ISDIR:
            self._follow(mask, name)

    def _follow(self, mask: int, directory: str) -> None:
        """Keep the set of watched directories as the tree is."""
        try:
            if mask & inotify.MOVED_FROM:
                self._forget(directory)
            elif mask & (inotify.CREATE | inotify.MOVED_TO):
                self._cover(directory, inotify.DONT_FOLLOW)
            if mask & inotify.CREATE:
                self._announce(directory)
        except (FileNotFoundError, NotADirectoryError):
            return  # gone or replaced since it was seen
        except (OSError, AgentError) as error:
            self._lose(f"directory '{printable(directory)}' cannot be watched: {error}")

    def _forget(self, directory: str) -> None:
        inside = directory + "/"
        for watch, name in tuple(self._directories.items()):
            if name == directory or name.startswith(inside):
                del self._directories[watch]
                with suppress(OSError):  # deleted meanwhile, and its watch with it
                    inotify.rm_watch(self._fd, watch)

    def _announce(self, directory: str) -> None:
        """Report what was made in a new directory before it was watched; its events may follow."""
        for path in trees.walk(join(self._root, directory), _MAX_DEPTH):
            name = path.removeprefix(self._root.rstrip("/") + "/")
            if name not in self._announced:
                self._announced.add(name)
                self._emit(EventType.CREATE, name)

    def _emit(self, kind: EventType, name: str) -> None:
        if self.events.size >= _MAX_QUEUED:
            self._lose("events came faster than they were read")
        self.events.put(
            FilesystemEvent(name=printable(name) or ".", type=kind, entry=self._entry(kind, name))
        )

    def _entry(self, kind: EventType, name: str) -> EntryInfo | None:
        if not self._include_entry or kind not in _WITH_ENTRY:
            return None
        with suppress(OSError):  # gone again
            return describe(join(self._root, name) if name else self._root, Names.load())
        return None

    def _lose(self, reason: str) -> None:
        self.events.cut(AgentError(Kind.EXHAUSTED, f"the watch has ended: {reason}"))


class Watchers:
    """Watches that clients ask for their events, by id."""

    def __init__(self) -> None:
        self._watches: dict[str, Watch] = {}

    def add(self, watch: Watch) -> str:
        watcher_id = secrets.token_hex(8)
        self._watches[watcher_id] = watch
        return watcher_id

    def get(self, watcher_id: str) -> Watch:
        """Raises AgentError."""
        try:
            return self._watches[watcher_id]
        except KeyError:
            raise AgentError(Kind.NOT_FOUND, f"watcher with id '{watcher_id}' not found") from None

    def remove(self, watcher_id: str) -> None:
        """Raises AgentError."""
        self.get(watcher_id).close()
        del self._watches[watcher_id]


def _subdirectories(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _refuse_network(path: str) -> None:
    if name := _NETWORK.get(inotify.filesystem_type(path)):
        raise AgentError(
            Kind.INVALID, f"path '{path}' is on a network filesystem ({name}), whose events are unreliable"
        )
