from pathlib import Path

import pytest

from berm.cli.git import origin
from berm.config import Runner
from tests.ci.runner import git, repository

NAMED = Runner(active=True, actor="octocat")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    repository(tmp_path, {"e2b/Dockerfile": b"FROM scratch\n", "other": b""})
    return tmp_path / "e2b"


def test_the_commit_is_that_of_head(folder: Path) -> None:
    assert origin(folder, NAMED).commit == git(folder, "rev-parse", "HEAD")


def test_a_folder_that_differs_is_dirty(folder: Path) -> None:
    (folder.parent / "other").write_text("changed outside of the folder")
    assert "-dirty" not in origin(folder, NAMED).commit
    (folder / "new").touch()
    assert origin(folder, NAMED).commit == git(folder, "rev-parse", "HEAD") + "-dirty"


def test_looking_changes_nothing(folder: Path) -> None:
    index = folder.parent / ".git/index"
    (folder / "Dockerfile").touch()
    before = index.stat().st_mtime_ns, index.read_bytes()
    origin(folder, NAMED)
    assert (index.stat().st_mtime_ns, index.read_bytes()) == before


def test_no_repository_no_commit(tmp_path: Path) -> None:
    assert origin(tmp_path, NAMED).commit == ""


def test_no_commit_yet(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    assert origin(tmp_path, NAMED).commit == ""


def test_no_git(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert origin(folder, NAMED).commit == ""


def test_the_actor_is_githubs_or_gits_or_the_login(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    assert origin(folder, NAMED).actor == "octocat"
    assert origin(folder, Runner()).actor == "root"
    git(folder, "config", "user.name", "Mona Lisa")
    assert origin(folder, Runner()).actor == "Mona Lisa"
    git(folder, "config", "user.email", "mona@example.org")
    assert origin(folder, Runner()).actor == "Mona Lisa <mona@example.org>"
