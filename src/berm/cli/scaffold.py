"""`berm template init`: the files that a template begins with."""

import re
from pathlib import Path

from berm.errors import BermError, Code
from berm.templates import versions

_DEFINITION = """\
name = "{name}"
dockerfile = "Dockerfile"

[build]
context = "."

# What its sandboxes get:
# cpu_count = 2
# memory_mb = 1024
# start_cmd = "python3 -m http.server 8000"
# ready_cmd = "curl --fail --silent localhost:8000"
"""

_DOCKERFILE = """\
FROM {base}

WORKDIR /code
COPY . .

USER user
"""

_IGNORED = """\
.git
.dockerignore
Dockerfile
e2b.toml
e2b.lock
"""


def files(name: str, base: str) -> dict[str, str]:
    """File name -> content, of a template that can be built as it is."""
    return {
        "e2b.toml": _DEFINITION.format(name=name),
        "Dockerfile": _DOCKERFILE.format(base=base),
        ".dockerignore": _IGNORED,
    }


def write(folder: Path, contents: dict[str, str], *, force: bool = False) -> list[Path]:
    """Write new files below a folder and return their paths.

    Raises BermError CONFLICT, with nothing written, if one of them is there already and `force` is not given.
    """
    targets = {folder / name: text for name, text in contents.items()}
    there = [str(path) for path in targets if path.exists() or path.is_symlink()]
    if there and not force:
        raise BermError(
            Code.CONFLICT, f"already there: {', '.join(there)}", "remove them, or choose another folder"
        )
    for path, text in targets.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(targets)


def checked_name(name: str) -> str:
    """The name itself. Raises BermError INVALID_ARGUMENT if no template can have it."""
    if not versions.is_name(name):
        raise BermError(
            Code.INVALID_ARGUMENT,
            f"{name!r} cannot be a template's name",
            "names are of lowercase letters, digits, '-', '_' and '.': give one with --name",
        )
    return name


def name_from(folder: Path) -> str:
    """A template's name made from its folder's."""
    return re.sub("[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-") or "template"
