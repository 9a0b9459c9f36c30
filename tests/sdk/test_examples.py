"""The programs in examples/ run unchanged, with nothing set but what `berm env` prints."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.instance import Instance

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))


@pytest.mark.parametrize("program", EXAMPLES, ids=lambda path: path.name)
def test_example(program: Path, berm: Instance) -> None:
    done = subprocess.run(
        [sys.executable, str(program)], env=berm.env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
