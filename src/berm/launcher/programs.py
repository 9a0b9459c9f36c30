"""Programs of the host that the launcher runs, in an environment that holds only where they are."""

import errno
import shutil
import subprocess
from typing import Final

_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def run(*command: str, script: str = "") -> str:
    """Run a program, with `script` as its input; returns its output. Raises OSError with its own words."""
    done = subprocess.run(
        command, input=script, capture_output=True, text=True, env={"PATH": _PATH}, check=False
    )
    if done.returncode:
        reason = done.stderr.strip() or f"exit code {done.returncode}"
        raise OSError(errno.EIO, f"{' '.join(command)}: {reason}")
    return done.stdout.strip()


def found(name: str) -> bool:
    return shutil.which(name, path=_PATH) is not None
