"""The three lines of the README move a program that knows nothing of berm."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.instance import BERM, Instance

ROOT = Path(__file__).parents[1]

pytestmark = [pytest.mark.sdk, pytest.mark.root]


def lines() -> str:
    section = (ROOT / "README.md").read_text().partition("## Move a program in three lines")[2]
    block = re.search(r"```sh\n(.*?)```", section, re.DOTALL)
    assert block
    return block[1]


def test_they_are_three() -> None:
    assert [line.split("=")[0] for line in lines().splitlines()] == [
        "export E2B_API_URL",
        "export E2B_SANDBOX_URL",
        "export E2B_API_KEY",
    ]


@pytest.mark.parametrize("program", ["hello.py", "tour.py"])
def test_a_program_runs_after_them(berm: Instance, program: str) -> None:
    env = {name: value for name, value in berm.env.items() if not name.startswith("E2B_")}
    env["PATH"] = f"{Path(BERM).parent}:{os.environ['PATH']}"
    # The server of the tests is on a port of its own.
    script = lines().replace(":49980", f":{berm.env['BERM_PORT']}") + f'exec "{sys.executable}" "$1"\n'
    command = ["bash", "-euo", "pipefail", "-c", script, "bash", str(ROOT / "examples" / program)]
    done = subprocess.run(command, env=env, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Hello from Linux" in done.stdout or "user\n True" in done.stdout
