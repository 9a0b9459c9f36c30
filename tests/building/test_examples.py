"""The example folders: the Debian twin is built, the other is checked, as its base is on a registry."""

import shutil
from pathlib import Path

import pytest

from tests.instance import Instance

ROOT = Path(__file__).parent.parent.parent
TWIN = ROOT / "examples/e2b-debian"
ALPINE = ROOT / "e2b"


@pytest.fixture
def twin(tmp_path: Path) -> Path:
    """A copy of the folder, so that no lock file is written into the repository."""
    return Path(shutil.copytree(TWIN, tmp_path / "twin"))


@pytest.mark.timeout(600)
def test_the_debian_twin_is_what_its_readme_says(berm: Instance, twin: Path) -> None:
    built = berm.berm("template", "build", str(twin), "--json", check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    name = "workbench-debian"
    sandbox_id = berm.berm("sandbox", "create", name).stdout.strip()

    def run(command: str) -> str:
        return berm.berm("sandbox", "exec", sandbox_id, "--", "bash", "-lc", command).stdout

    assert run("id; pwd; echo $HOME").splitlines() == [
        "uid=1000(sandboxuser) gid=1000(sandboxuser) groups=1000(sandboxuser)",
        "/code",
        "/home/sandboxuser",
    ]
    assert run("stat -c %U /code /code/README.md").split() == ["sandboxuser", "sandboxuser"]
    assert run("id -u user; sudo -l -U user 2> /dev/null | tail -1").split()[0] == "1001"
    for program in ("node", "git", "bash", "curl", "wget", "python3", "pip", "gcc", "make"):
        assert run(f"command -v {program}"), program
    berm.berm("sandbox", "kill", sandbox_id)
    berm.berm("template", "delete", name)


def test_the_alpine_folder_is_right(berm: Instance) -> None:
    done = berm.berm("template", "validate", str(ALPINE), check=False)

    assert done.returncode == 0, done.stdout + done.stderr
