"""Which commit a build comes from, and who asked for it."""

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

from berm.config import Runner

_STATUS = ("status", "--porcelain=v2", "--branch", "--", ".")
_PERSON = ("config", "--get-regexp", r"^user\.(name|email)$")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a build comes from; what is not known is empty."""

    commit: str
    """The hash of HEAD; `-dirty` follows where the folder differs from it."""
    actor: str


def origin(folder: Path, runner: Runner) -> Origin:
    """Of what is built from `folder`, which need not be in a repository."""
    return Origin(_commit(folder), runner.actor or _person(folder) or _login())


def _commit(folder: Path) -> str:
    commit, dirty = "", False
    for line in _git(folder, *_STATUS):
        key, _, value = line.removeprefix("# ").partition(" ")
        if key == "branch.oid":
            commit = "" if value == "(initial)" else value
        dirty = dirty or not line.startswith("#")
    return f"{commit}-dirty" if commit and dirty else commit


def _person(folder: Path) -> str:
    known = dict(line.removeprefix("user.").split(" ", 1) for line in _git(folder, *_PERSON))
    name, email = known.get("name", ""), known.get("email", "")
    return f"{name} <{email}>" if name and email else name or email


def _login() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return ""


def _git(folder: Path, *args: str) -> list[str]:
    """The lines that git prints; none where git or a repository is missing. It changes nothing, no index."""
    command = ["git", "-C", str(folder), "--no-optional-locks", *args]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    except OSError:
        return []
    return done.stdout.splitlines() if done.returncode == 0 else []
