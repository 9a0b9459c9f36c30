"""Paths as instructions write them. Nothing is looked up here, so no link can lead them astray."""

import posixpath
import re

from berm.templates import globs
from berm.templates.findings import InstructionError, shown


def absolute(path: str, workdir: str) -> str:
    """A path in the image, from the working directory if it is relative; a `/` at its end stays."""
    _check(path)
    joined = posixpath.normpath(posixpath.join("/", workdir, path)).replace("//", "/")
    directory = path == "" or path.endswith("/") or posixpath.basename(path) in (".", "..")
    return joined.rstrip("/") + "/" if directory else joined


def relative(path: str) -> str:
    """A path below the root of what is copied from; `.` is that root. An error if it leads out of it."""
    _check(path)
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if not parts:
                hint = "copy from below the build context, or choose a context that has the file"
                raise InstructionError(f"{shown(path)} leads out of what is copied from", hint)
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts) or "."


def _check(path: str) -> None:
    if "\0" in path:
        raise InstructionError(f"{shown(path)} holds a NUL, which no path can", "remove it")


def literal(path: str) -> str:
    """A path as a source of Copy that stands for itself, whatever letters are in it."""
    return re.sub(r"[*?\[\\]", _quoted, path) if globs.is_glob(path) else path


def _quoted(found: re.Match[str]) -> str:
    return r"[\\]" if found[0] == "\\" else f"[{found[0]}]"
