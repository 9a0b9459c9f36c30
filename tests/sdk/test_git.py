"""Every method of the SDKs' git module, by both halves, on repositories and a server inside the sandbox."""

from pathlib import Path
from typing import Any

import pytest
from e2b import CommandExitException, GitAuthException, GitUpstreamException, InvalidArgumentException

from tests.sdk.attempts import all_raise

SERVER = Path(__file__).with_name("githttp.py")
URL = "http://127.0.0.1:8418/shared.git"
WHO = {"username": "someone", "password": "pass-word"}
AUTHOR = {"author_name": "Some One", "author_email": "someone@example.com"}


def git(sandbox: Any, command: str) -> str:
    return str(sandbox.commands.run(f"git {command}").stdout).rstrip("\n")


@pytest.fixture
def work(either: Any) -> Any:
    """A sandbox with the repository `work`, which has one commit on main."""
    either.git.init("work", initial_branch="main")
    either.files.write("work/file", "one\n")
    either.git.add("work")
    either.git.commit("work", "First", **AUTHOR)
    return either


@pytest.fixture
def served(work: Any) -> Any:
    """Beside `work`, an empty repository at URL that asks for WHO."""
    work.git.init("/srv/git/shared.git", bare=True, initial_branch="main", user="root")
    work.files.write("/srv/server.py", SERVER.read_text(), user="root")
    work.commands.run(
        "git -C /srv/git/shared.git config http.receivepack true; exec python3 /srv/server.py /srv/git",
        user="root",
        background=True,
        timeout=0,
    )
    work.commands.run(f"until curl --silent --output /dev/null {URL}; do :; done")
    work.git.remote_add("work", "origin", URL)
    return work


def test_commits_and_status(work: Any) -> None:
    shown = git(work, "-C work log -1 --format='%an <%ae> %s'")
    assert shown == "Some One <someone@example.com> First"
    assert work.git.status("work").is_clean
    work.commands.run(
        "cd work; echo more >> file; echo x > 'two words'; echo y > added; mkdir sub; echo > sub/z"
    )
    work.git.add("work", files=["added"])
    status = work.git.status("work")
    assert (status.current_branch, status.upstream, status.ahead, status.detached) == ("main", None, 0, False)
    assert {(entry.name, entry.status, entry.staged) for entry in status.file_status} == {
        ("file", "modified", False),
        ("added", "added", True),
        ('"two words"', "untracked", False),
        ("sub/", "untracked", False),
    }
    work.git.add("work/sub", all=False)
    work.git.commit("work", 'it\'s "quoted"\n\n$HOME', **AUTHOR)
    assert git(work, "-C work log -1 --format=%B") == 'it\'s "quoted"\n\n$HOME\n'.rstrip("\n")
    assert git(work, "-C work show --format= --name-only").split() == ["added", "sub/z"]
    work.git.commit("work", "Nothing", allow_empty=True, **AUTHOR)
    with pytest.raises(CommandExitException, match="exited with code 1") as failure:
        work.git.commit("work", "Nothing again", **AUTHOR)
    assert "no changes added to commit" in failure.value.stdout


def test_renames_and_conflicts(work: Any) -> None:
    work.commands.run("git -C work mv file moved")
    (renamed,) = work.git.status("work").file_status
    assert (renamed.status, renamed.renamed_from, renamed.name) == ("renamed", "file", "moved")
    work.git.reset("work", mode="hard")
    work.git.create_branch("work", "side")
    for branch in ("side", "main"):
        work.git.checkout_branch("work", branch)
        work.files.write("work/file", f"of {branch}\n")
        work.git.add("work")
        work.git.commit("work", f"On {branch}", **AUTHOR)
    work.commands.run("git -C work -c user.name=x -c user.email=x merge side || true")
    assert work.git.status("work").has_conflicts


def test_branches(work: Any) -> None:
    work.git.create_branch("work", "topic/one")
    branches = work.git.branches("work")
    assert (sorted(branches.branches), branches.current_branch) == (["main", "topic/one"], "topic/one")
    work.git.commit("work", "Only here", allow_empty=True, **AUTHOR)
    work.git.checkout_branch("work", "main")
    with pytest.raises(CommandExitException, match="not fully merged"):
        work.git.delete_branch("work", "topic/one")
    work.git.delete_branch("work", "topic/one", force=True)
    assert work.git.branches("work").branches == ["main"]
    with pytest.raises(CommandExitException, match="did not match"):
        work.git.checkout_branch("work", "none")
    work.commands.run("git -C work checkout --quiet --detach")
    assert work.git.status("work").detached


def test_reset_and_restore(work: Any) -> None:
    work.files.write("work/file", "two\n")
    work.git.add("work")
    work.git.restore("work", ["file"], staged=True)
    assert not work.git.status("work").has_staged
    work.git.restore("work", ["file"])
    assert work.files.read("work/file") == "one\n"
    work.files.write("work/file", "two\n")
    work.git.add("work")
    work.git.reset("work", paths=["file"])
    assert not work.git.status("work").has_staged
    work.git.add("work")
    work.git.commit("work", "Second", **AUTHOR)
    work.git.restore("work", ["file"], source="HEAD~1", staged=True, worktree=True)
    assert work.files.read("work/file") == "one\n"
    work.git.reset("work", mode="hard", target="HEAD~1")
    assert git(work, "-C work log --format=%s") == "First"
    all_raise(
        InvalidArgumentException,
        "must be one of|is required|must be true",
        lambda: work.git.reset("work", mode="wild"),
        lambda: work.git.restore("work", []),
        lambda: work.git.restore("work", ["file"], staged=False, worktree=False),
    )


def test_configuration(work: Any) -> None:
    work.git.configure_user("Glo Bal", "global@example.com")
    work.git.configure_user("Lo Cal", "local@example.com", scope="local", path="work")
    work.git.set_config("core.abbrev", "12", scope="system", user="root")
    assert work.git.get_config("user.name") == "Glo Bal"
    assert work.git.get_config("user.name", scope="local", path="work") == "Lo Cal"
    assert work.git.get_config("core.abbrev", scope="system") == "12"
    assert work.git.get_config("user.nickname") is None
    work.git.commit("work", "By whom", allow_empty=True)
    assert git(work, "-C work log -1 --format=%ae") == "local@example.com"
    all_raise(
        InvalidArgumentException,
        "required|must be one of",
        lambda: work.git.get_config(""),
        lambda: work.git.set_config("a.b", "c", scope="local"),
        lambda: work.git.set_config("a.b", "c", scope="universal"),
        lambda: work.git.configure_user("", "x"),
    )


def test_remotes(work: Any) -> None:
    assert work.git.remote_get("work", "origin") is None
    work.git.remote_add("work", "origin", "/nowhere")
    with pytest.raises(CommandExitException, match="already exists"):
        work.git.remote_add("work", "origin", "/elsewhere")
    work.git.init("bare.git", bare=True)
    work.git.remote_add("work", "origin", "/home/user/bare.git", overwrite=True, fetch=True)
    assert work.git.remote_get("work", "origin") == "/home/user/bare.git"
    with pytest.raises(InvalidArgumentException):
        work.git.remote_add("work", "", "x")


def test_user_directory_environment_and_time(work: Any) -> None:
    work.git.init("own.git", bare=True, user="root", cwd="/opt")
    work.git.clone("own.git", path="copy", user="root", cwd="/opt", timeout=30, request_timeout=30)
    names = {"GIT_AUTHOR_NAME": "From Environment", "GIT_COMMITTER_NAME": "x"}
    emails = {"GIT_AUTHOR_EMAIL": "a@example.com", "GIT_COMMITTER_EMAIL": "b@example.com"}
    work.git.commit("copy", "First", allow_empty=True, user="root", cwd="/opt", envs=names | emails)
    shown = work.commands.run("git log --format='%an %ce'", cwd="/opt/copy", user="root").stdout
    assert shown == "From Environment b@example.com\n"


def test_push_pull_and_clone_by_path(work: Any) -> None:
    work.git.init("bare.git", bare=True, initial_branch="main")
    work.git.remote_add("work", "origin", "/home/user/bare.git")
    with pytest.raises(GitUpstreamException):
        work.git.push("work")
    with pytest.raises(GitUpstreamException):
        work.git.pull("work")
    work.git.push("work", remote="origin", branch="main")
    work.git.clone("/home/user/bare.git", path="copy", branch="main")
    work.git.commit("copy", "There", allow_empty=True, **AUTHOR)
    assert work.git.status("copy").ahead == 1
    work.git.push("copy")
    work.git.pull("work")
    assert git(work, "-C work log -1 --format=%s") == "There"
    work.git.clone("file:///home/user/bare.git", path="shallow", depth=1)
    assert git(work, "-C shallow rev-list --count HEAD") == "1"


def test_a_server_that_wants_a_password(served: Any) -> None:
    all_raise(
        GitAuthException,
        "requires credentials",
        lambda: served.git.clone(URL),
        lambda: served.git.clone(URL, username="someone", password="wrong"),
        lambda: served.git.push("work", remote="origin", branch="main"),
        lambda: served.git.pull("work", remote="origin", branch="main"),
    )
    with pytest.raises(CommandExitException, match="Authentication failed"):
        served.git.push("work", remote="origin", branch="main", username="someone", password="wrong")
    all_raise(
        InvalidArgumentException,
        "Username is required",
        lambda: served.git.clone(URL, password="pass-word"),
        lambda: served.git.push("work", password="pass-word"),
        lambda: served.git.pull("work", password="pass-word"),
    )
    assert served.git.remote_get("work", "origin") == URL


def test_credentials_are_used_and_not_kept(served: Any) -> None:
    served.git.push("work", branch="main", **WHO)
    served.git.clone(URL, path="copy", **WHO)
    assert served.files.read("copy/file") == "one\n"
    served.git.commit("copy", "There", allow_empty=True, **AUTHOR)
    served.git.push("copy", remote="origin", branch="main", **WHO)
    served.git.pull("work", remote="origin", branch="main", **WHO)
    assert git(served, "-C work log -1 --format=%s") == "There"
    served.commands.run("! grep --recursive pass-word work/.git copy/.git")
    served.git.clone(URL, path="keeping", dangerously_store_credentials=True, **WHO)
    served.commands.run("grep --quiet pass-word keeping/.git/config")
    served.git.pull("keeping")


def test_credentials_for_every_repository_of_a_host(served: Any) -> None:
    with pytest.raises(InvalidArgumentException):
        served.git.dangerously_authenticate("someone", "")
    served.git.dangerously_authenticate(**WHO, host="127.0.0.1:8418", protocol="http")
    served.git.push("work", remote="origin", branch="main")
    served.git.clone(URL)
    assert served.files.read("shared/file") == "one\n"
