import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.standin import KEY, StandIn, serving

COMMAND = (str(Path(sys.executable).with_name("berm")),)


@dataclass
class Berm:
    """The real command in a process of its own, against a server that the test chose."""

    environ: dict[str, str]

    def popen(self, *args: str, stdin: int | None = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*COMMAND, *args],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environ,
        )

    def __call__(self, *args: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*COMMAND, *args], input=stdin, capture_output=True, env=self.environ, check=False
        )


@pytest.fixture
def server() -> Iterator[StandIn]:
    with serving() as standin:
        yield standin


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def berm(server: StandIn, home: Path) -> Berm:
    return Berm(
        {
            "PATH": os.environ["PATH"],
            "BERM_HOME": str(home),
            "BERM_URL": server.url,
            "BERM_API_KEY": KEY,
        }
    )
