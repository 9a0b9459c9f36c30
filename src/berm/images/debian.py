"""A Debian root filesystem out of packages, by mmdebstrap: for machines that reach no registry."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from berm.images import process
from berm.images.config import ImageConfig
from berm.images.lines import Output
from berm.images.tree import staged

SUITE: Final = "bookworm"

PACKAGES: Final = (
    *("ca-certificates", "curl", "wget", "git", "openssh-client", "rsync", "gnupg"),
    *("python3", "python3-pip", "python3-venv", "python-is-python3", "nodejs", "npm", "build-essential"),
    *("sudo", "procps", "psmisc", "iproute2", "iputils-ping", "netcat-openbsd", "lsof"),
    *("less", "nano", "vim-tiny", "file", "jq", "unzip", "zip", "bzip2", "xz-utils"),
)
"""What people and programs expect of a sandbox, beside Debian's minimal base."""

CONFIG: Final = ImageConfig(env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"})

_KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

_OF_THE_HOST: Final = ("hostname", "resolv.conf")
"""What mmdebstrap copies into the tree from the host's /etc."""

_OPTIONS: Final = (
    *("--mode=root", "--format=directory", "--variant=minbase", "--verbose"),
    "--dpkgopt=force-unsafe-io",
    *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "info", "lintian", "locale", "man")),
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    # A sandbox is thrown away: pip may write into its system, as it may in the Python images people know.
    """--customize-hook=printf '[global]\\nbreak-system-packages = true\\n' > "$1/etc/pip.conf" """,
    *(
        f'--customize-hook=install --mode=644 /dev/null "$1/etc/{name}"'
        for name in ("hostname", "resolv.conf")
    ),
)

_STAGE = re.compile(r"I: ((?:running|downloading|extracting|installing|cleaning) .*)\.\.\.")
_TOTAL = re.compile(r"\d+ upgraded, (\d+) newly installed")
_LONG: Final = "Installing remaining"
_STEPS: Final = ("Get:", "Unpacking ", "Setting up ")
"""The lines that each package has one of."""


def layer_name(packages: Sequence[str] = PACKAGES) -> str:
    """A name that changes when the tree that `bootstrap` makes would."""
    recipe = "\n".join((SUITE, *_OPTIONS, *packages))
    return f"deb-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}"


async def bootstrap(
    target: Path, mirror: str, progress: Output, packages: Sequence[str] = PACKAGES
) -> ImageConfig:
    """Make `target` a Debian root filesystem, with its own user ids.

    Packages come from `mirror`, or from the host's own Debian sources if it is empty. Needs root. Raises
    BermError NOT_OFFERED without mmdebstrap, INTERNAL with its last words when it fails; then there is
    no `target`.
    """
    sources = [_source(mirror, SUITE)] if mirror else await _host_sources()
    async with staged(target) as tree:
        command = ["mmdebstrap", *_OPTIONS, f"--include={' '.join(packages)}", SUITE, str(tree), *sources]
        await process.run(command, Stages(progress).feed, temporary=tree.parent)
    return CONFIG


async def _host_sources() -> list[str]:
    """The host's sources of this suite; none lets mmdebstrap take its own default."""
    filters = ["Created-By: Packages", "Origin: Debian", "Component: main"]
    targets = await process.read(["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", *filters])
    return [_source(*line.split()) for line in targets.decode().splitlines() if _of_suite(line)]


def _of_suite(line: str) -> bool:
    return bool(re.fullmatch(rf"\S+ {SUITE}(-updates|-security)?", line))


def _source(uri: str, suite: str) -> str:
    signed = f"[signed-by={_KEYRING}] " if _KEYRING.exists() else ""
    return f"deb {signed}{uri} {suite} main"


class Stages:
    """Makes a few lines of the thousands of `mmdebstrap --verbose`: stages, and tenths of the long one."""

    def __init__(self, progress: Output) -> None:
        self._progress = progress
        self._stage = ""
        self._steps = 0
        self._done = 0

    def feed(self, line: str) -> None:
        if stage := _STAGE.match(line):
            self._stage, self._steps, self._done = stage[1].capitalize(), 0, 0
            self._progress(self._stage)
        elif total := _TOTAL.match(line):
            self._steps = int(total[1]) * len(_STEPS)
        elif self._steps and self._stage.startswith(_LONG) and line.startswith(_STEPS):
            self._step()

    def _step(self) -> None:
        before = self._done * 10 // self._steps
        self._done += 1
        if (tenth := self._done * 10 // self._steps) > before:
            self._progress(f"{self._stage}: {tenth * 10}%")
