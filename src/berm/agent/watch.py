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
from berm.agent.watched import Directory, Watched

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
# Without MASK_ADD, setting a watch that is there clears its mask for an instant: what happens then is lost.
_FLAGS = inotify.ONLYDIR | inotify.MASK_ADD
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
        self._watched = Watched()
        self._announced: set[str] = set()
        self._fd = inotify.init()
        asyncio.get_running_loop().add_reader(self._fd, self._pump)
        try:
            self._watched.add_root(self._add(root))
            if options.recursive:
                self._cover_below(self._watched.root)
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

    def _cover(self, parent: Directory, name: str) -> set[Directory]:
        """Watch a directory that may be there, and all below it; returns what was not watched before."""
        found = self._cover_one(parent, name)
        if found is None:
            return set()
        directory, fresh = found
        return self._cover_below(directory) | ({directory} if fresh else set())

    def _cover_below(self, directory: Directory) -> set[Directory]:
        all_fresh: set[Directory] = set()
        below = [directory]
        while below:
            parent = below.pop()
            found = [self._cover_one(parent, name) for name in _subdirectories(self._absolute(parent))]
            below += [directory for directory, _ in filter(None, found)]
            all_fresh.update(directory for directory, fresh in filter(None, found) if fresh)
        return all_fresh

    def _cover_one(self, parent: Directory, name: str) -> tuple[Directory, bool] | None:
        with suppress(FileNotFoundError, NotADirectoryError):  # gone or replaced since it was seen
            watch = self._add(join(self._absolute(parent), name), inotify.DONT_FOLLOW)
            return self._watched.add(watch, parent, name)
        return None

    def _add(self, path: str, flags: int = 0) -> int:
        try:
            return inotify.add_watch(self._fd, path, _WANTED | _FLAGS | flags)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise AgentError(Kind.EXHAUSTED, "no more directories can be watched on this machine") from error

    def _absolute(self, directory: Directory) -> str:
        return self._at(self._watched.path(directory) or _ROOT)

    def _at(self, name: str) -> str:
        return join(self._root, name) if name else self._root

    def _pump(self) -> None:
        for _ in range(_MAX_READS):
            events = list(inotify.read(self._fd))
            if not events:
                self._rest()
                return
            for event in events:
                self._handle(event)

    def _rest(self) -> None:
        """All that has happened is handled: what it was read together with matters no more."""
        self._announced.clear()
        for watch in self._watched.take_left():
            with suppress(OSError):  # deleted meanwhile, and its watch with it
                inotify.rm_watch(self._fd, watch)

    def _handle(self, event: Event) -> None:
        if event.mask & inotify.Q_OVERFLOW:
            self._lose("events came faster than they were read")
        elif event.mask & inotify.IGNORED:
            self._watched.remove(event.watch)
        elif directory := self._watched.get(event.watch):
            self._handle_in(directory, event)

    def _handle_in(self, directory: Directory, event: Event) -> None:
        path = self._watched.path(directory)
        # What happens to a subdirectory itself is told by its parent's watch as well.
        if path is not None and (event.name or path == _ROOT):
            self._report(event.mask, join(path, event.name))
        if path is not None and event.name and self._recursive and event.mask & inotify.ISDIR:
            self._follow(event, directory, join(path, event.name))
        if event.mask & inotify.MOVE_SELF:
            self._watched.moved(directory)

    def _report(self, mask: int, name: str) -> None:
        kind = next((kind for bits, kind in _TYPES if mask & bits), None)
        if kind is not None and not (kind == EventType.CREATE and name in self._announced):
            self._emit(kind, name)
        self._announced.discard(name)

    def _follow(self, event: Event, parent: Directory, name: str) -> None:
        """Keep the set of watched directories as the tree is."""
        try:
            if event.mask & inotify.MOVED_FROM:
                self._watched.moved_from(event.cookie, parent, event.name)
            elif event.mask & inotify.MOVED_TO:
                self._follow_move(event, parent)
            elif event.mask & inotify.CREATE:
                self._announce(self._cover(parent, event.name))
        except (FileNotFoundError, NotADirectoryError):
            return  # gone or replaced since it was seen
        except (OSError, AgentError) as error:
            self._lose(f"directory '{printable(name)}' cannot be watched: {error}")

    def _follow_move(self, event: Event, parent: Directory) -> None:
        occupied = event.name in parent.children
        move = self._watched.moved_to(event.cookie, parent, event.name)
        fresh = self._cover(parent, event.name)
        if move is None:
            return
        if occupied:  # two may have changed places: renameat2(2), RENAME_EXCHANGE
            fresh |= self._cover(move.parent, move.name)
        self._announce(fresh)  # made in it before it was moved, and not found then

    def _announce(self, fresh: set[Directory]) -> None:
        """Report what was made in new directories before they were watched; its events may follow."""
        for directory in fresh:
            if directory.parent not in fresh:
                self._announce_below(self._absolute(directory))

    def _announce_below(self, directory: str) -> None:
        for path in trees.walk(directory, _MAX_DEPTH):
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
            return describe(self._at(name), Names.load())
        return None

    def _lose(self, reason: str) -> None:
        self.events.cut(AgentError(Kind.TOO_SLOW, f"the watch has ended: {reason}"))


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
