"""The name that the SDK gives for a port is one that real clients of this machine reach, as it is."""

import subprocess
import sys
from collections.abc import Sequence

import pytest
from e2b import Sandbox

from tests.js.node import NODE
from tests.sdk.test_ports import PORT, WEB, serve

READ = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())"
FETCH = "fetch(process.argv[1]).then(answer => answer.text()).then(console.log)"


@pytest.fixture
def url(sandbox: Sandbox) -> str:
    serve(sandbox, WEB)
    return f"http://{sandbox.get_host(PORT)}/a"


@pytest.mark.parametrize(
    "client",
    [["curl", "--silent", "--show-error"], [sys.executable, "-c", READ], [str(NODE), "-e", FETCH]],
    ids=["curl", "python", "node"],
)
def test_a_name_is_reached(url: str, client: Sequence[str]) -> None:
    done = subprocess.run([*client, url], text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert '"path": "/a"' in done.stdout
