"""Layers made by hand: plain trees, and what overlayfs leaves in its upper directories."""

import os
import random
import stat
from pathlib import Path

_MARKS = [("opaque", b"y"), ("opaque", b"x"), ("opaque", b"yy"), ("origin", b"z"), ("redirect", b"/a")]


def directory(path: Path, opaque: bytes = b"", mode: int = 0o755) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(mode)
    if opaque:
        os.setxattr(path, "user.overlay.opaque", opaque)
    return path


def file(path: Path, content: str = "", mode: int = 0o644, **attributes: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    path.chmod(mode)
    for name, value in attributes.items():
        os.setxattr(path, "user." + name.replace("__", "."), value)
    return path


def link(path: Path, target: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
    return path


def whiteout(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mknod(path, stat.S_IFCHR, 0)
    return path


def hidden(path: Path) -> Path:
    """A whiteout as a file with an attribute, as an overlay that lies in an overlay makes it."""
    return file(path, overlay__whiteout=b"")


def random_layers(parent: Path, seed: int, count: int = 4, *, redirects: bool = True) -> list[Path]:
    """Layers of few names, so that they meet in every way."""
    choice = random.Random(seed)  # noqa: S311 - the same in every run
    layers = [directory(parent / str(number)) for number in range(count)]
    for layer in layers:
        for number in range(40):
            path = layer.joinpath(*choice.choices("abc", k=choice.randint(1, 4)))
            _random_entry(path, choice, f"{layer.name}-{number}", redirects=redirects)
    return layers


def _random_entry(path: Path, choice: random.Random, content: str, *, redirects: bool) -> None:
    if any(parent.is_symlink() or (parent.exists() and not parent.is_dir()) for parent in path.parents):
        return
    if os.path.lexists(path):
        if not path.is_symlink() and path.is_dir() and choice.random() < 0.4:
            name, value = choice.choice(_MARKS if redirects else _MARKS[:-1])
            os.setxattr(path, f"user.overlay.{name}", value)
        return
    kind = choice.choices(["directory", "file", "link", "whiteout", "hidden", "fifo"], [5, 4, 2, 3, 1, 1])[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    match kind:
        case "directory":
            directory(path, mode=choice.choice([0o700, 0o755, 0o1777]))
        case "file":
            file(path, choice.choice(["", content]), choice.choice([0o4755, 0o600, 0o644]))
        case "link":
            path.symlink_to(choice.choice(["/", "..", "/a/b", "../../../../a", "b", "c/../b", "/nowhere"]))
        case "whiteout":
            whiteout(path)
        case "hidden":
            hidden(path)
        case _:
            os.mkfifo(path)
    os.chown(path, choice.choice([0, 1000]), choice.choice([0, 42]), follow_symlinks=False)
