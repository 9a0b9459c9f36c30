"""Which directories a watch covers, as a tree of names: whatever is moved takes along all below it."""

from collections.abc import Iterator
from dataclasses import dataclass

_MAX_MOVES = 1024


class Directory:
    """A directory by its place in the tree; below `parent` there may be another one of its name by now."""

    __slots__ = ("children", "name", "parent")

    def __init__(self) -> None:
        self.parent: Directory | None = None
        self.name = ""
        self.children: dict[str, Directory] = {}

    @property
    def in_place(self) -> bool:
        return self.parent is not None and self.parent.children.get(self.name) is self

    def ancestors(self) -> "Iterator[Directory]":
        """This one first."""
        directory: Directory | None = self
        while directory is not None:
            yield directory
            directory = directory.parent

    def attach(self, parent: "Directory", name: str) -> bool:
        """Give it a place, from which it displaces what is there. Returns False for a place below itself."""
        if self in parent.ancestors():
            return False
        self.detach()
        self.parent, self.name = parent, name
        parent.children[name] = self
        return True

    def detach(self) -> None:
        """Make room for another one; it keeps its path until it is attached or leaves."""
        if self.parent is not None and self.in_place:
            del self.parent.children[self.name]


@dataclass(frozen=True)
class Move:
    """What was moved away, if it is watched, and from where."""

    parent: Directory
    name: str
    directory: Directory | None


class Watched:
    """The directories by their inotify watches; the root is there from the start.

    The kernel tells of a move by MOVED_FROM in the old parent, MOVED_TO in the new one and MOVE_SELF in the
    directory itself, in this order, with the events of others in between. So what has no place when
    its MOVE_SELF comes has been moved to where nothing is watched.
    """

    def __init__(self) -> None:
        self.root = Directory()
        self._by_watch: dict[int, Directory] = {}
        self._moves: dict[int, Move] = {}
        self._some_left = False

    def get(self, watch: int) -> Directory | None:
        return self._by_watch.get(watch)

    def path(self, directory: Directory) -> str | None:
        """Relative to the root, which is ""; None for what has left the tree."""
        *below, top = directory.ancestors()
        return "/".join(each.name for each in reversed(below)) if top is self.root else None

    def add_root(self, watch: int) -> None:
        self._by_watch[watch] = self.root

    def add(self, watch: int, parent: Directory, name: str) -> tuple[Directory, bool] | None:
        """Put what a watch was just set on in its place; returns it and whether it was unknown until now.

        Returns None for a directory that is above its own place: links or mounts have led back to it.
        """
        known = self._by_watch.get(watch)
        directory = self._by_watch[watch] = known or Directory()
        return (directory, known is None) if directory.attach(parent, name) else None

    def remove(self, watch: int) -> None:
        """Forget a directory that is gone, and its watch with it."""
        if directory := self._by_watch.pop(watch, None):
            directory.detach()

    def moved_from(self, cookie: int, parent: Directory, name: str) -> None:
        directory = parent.children.get(name)
        if directory is not None:
            directory.detach()
        self._moves[cookie] = Move(parent, name, directory)
        # Only what left is ever left over, and nothing waits for that.
        if len(self._moves) > _MAX_MOVES:
            del self._moves[next(iter(self._moves))]

    def moved_to(self, cookie: int, parent: Directory, name: str) -> Move | None:
        """Put what was moved in its new place. Returns None for what came from outside of the tree."""
        move = self._moves.pop(cookie, None)
        if move is not None and move.directory is not None:
            move.directory.attach(parent, name)
        return move

    def moved(self, directory: Directory) -> None:
        """Take MOVE_SELF: what has left is told of no more, unless it comes back."""
        if directory is not self.root and not directory.in_place:
            directory.parent = None
            self._some_left = True

    def take_left(self) -> list[int]:
        """Forget all that has left; returns its watches."""
        if not self._some_left:
            return []
        self._some_left = False
        left = [watch for watch, directory in self._by_watch.items() if self.path(directory) is None]
        for watch in left:
            del self._by_watch[watch]
        return left
