"""What the kernel makes of a chain of layers: an overlay mount in a mount namespace of its own, as data."""

import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Tree = dict[str, list[Any]]
"""Of each path: kind and permissions, owner, group, and a file's or link's content or a device's number."""


def seen_by_kernel(layers: Sequence[Path]) -> Tree:
    """The tree that a sandbox with these layers (bottom first) sees. A path that has a list with an error
    number could not be looked up."""
    with tempfile.TemporaryDirectory(dir=layers[0].parent) as scratch:
        for name in ("upper", "work", "root"):
            Path(scratch, name).mkdir()
        lower = ":".join(str(layer) for layer in reversed(layers))
        options = f"lowerdir={lower},upperdir={scratch}/upper,workdir={scratch}/work,userxattr"
        script = 'mount -t overlay overlay -o "$1" "$2" && exec "$3" "$4" "$2"'
        command = ["sh", "-c", script, "sh", options, f"{scratch}/root", sys.executable, __file__]
        done = subprocess.run(["unshare", "--mount", *command], check=True, capture_output=True)
        return dict(json.loads(done.stdout))


def described(status: os.stat_result, content: str) -> list[Any]:
    return [status.st_mode, status.st_uid, status.st_gid, content]


def _dump(root: str) -> Tree:
    found: Tree = {}
    waiting = [""]
    while waiting:
        parent = waiting.pop()
        for found_path in Path(root, parent).iterdir():
            path = os.path.relpath(found_path, root)
            try:
                status = found_path.lstat()
            except FileNotFoundError:
                # Listed though it is not there: a whiteout by attribute in a directory that is not marked.
                continue
            except OSError as error:
                found[path] = [error.errno]
                continue
            found[path] = described(status, _content(f"{root}/{path}", status))
            if stat.S_ISDIR(status.st_mode):
                waiting.append(path)
    return found


def _content(path: str, status: os.stat_result) -> str:
    if stat.S_ISREG(status.st_mode):
        return Path(path).read_text()
    if stat.S_ISLNK(status.st_mode):
        return str(Path(path).readlink())
    return "" if stat.S_ISDIR(status.st_mode) else str(status.st_rdev)


if __name__ == "__main__":
    print(json.dumps(_dump(sys.argv[1])))  # noqa: T201 - that is what it is for
