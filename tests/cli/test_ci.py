import subprocess
import sys
from pathlib import Path

import pytest

from berm.cli import ci
from tests.ci.runner import git, load
from tests.cli.conftest import COMMAND

ROOT = Path(__file__).parents[2]
OWN_ACTION = "./ # zizmor: ignore[self-repository] runners of older GitHub servers know only this form"


def write(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, "ci", "init", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_our_own_workflow_is_what_the_command_writes() -> None:
    assert (ROOT / ci.PATH).read_text() == ci.workflow("e2b", "main", OWN_ACTION)


def test_it_is_written_into_the_repository_and_never_over_another(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "sub").mkdir()
    done = write(tmp_path / "sub", "--folder", "sandbox/", "--branch", "release")
    path = tmp_path / ci.PATH
    assert (done.returncode, done.stdout) == (0, f"{path}\n")
    assert path.read_text() == ci.workflow("sandbox", "release", "")
    again = write(tmp_path)
    assert again.returncode == 73
    assert "already there" in again.stderr
    assert path.read_text() == ci.workflow("sandbox", "release", "")
    assert write(tmp_path, "--force").returncode == 0
    assert path.read_text() == ci.workflow("e2b", "main", "")


@pytest.mark.parametrize(
    "options", [("--folder", "a b"), ("--folder", "${{ x }}"), ("--branch", "a*"), ("--action", "x\ny")]
)
def test_what_would_mean_something_else_is_refused(tmp_path: Path, options: tuple[str, str]) -> None:
    done = write(tmp_path, *options)
    assert done.returncode == 2
    assert options[0] in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("action", ["", "owner/berm@11bd71901bbe5b1630ceea73d27597364c9af683"])
def test_a_written_workflow_has_no_faults(tmp_path: Path, action: str) -> None:
    path = tmp_path / ci.PATH
    path.parent.mkdir(parents=True)
    path.write_text(ci.workflow("sandbox", "main", action))
    lint("check-jsonschema", "--builtin-schema", "vendor.github-workflows", str(path))
    lint("zizmor", "--offline", str(path))
    used = [step["uses"] for job in load(path)["jobs"].values() for step in job["steps"] if "uses" in step]
    assert used.count(action) == (2 if action else 0)


def test_our_own_workflow_and_action_have_no_faults() -> None:
    lint("check-jsonschema", "--builtin-schema", "vendor.github-workflows", str(ROOT / ci.PATH))
    lint("check-jsonschema", "--builtin-schema", "vendor.github-actions", str(ROOT / "action.yml"))
    lint("zizmor", "--offline", str(ROOT / ci.PATH), str(ROOT / "action.yml"))


def lint(program: str, *args: str) -> None:
    path = Path(sys.executable).with_name(program)
    done = subprocess.run([str(path), *args], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
