"""Directories as the SDK lists, makes, renames and removes them, by both halves."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from e2b import (
    FileNotFoundException,
    FileType,
    InvalidArgumentException,
    Sandbox,
    SandboxException,
    TimeoutException,
)

from tests.sdk.attempts import all_raise
from tests.sdk.test_files import at


def test_listings(either: Any) -> None:
    either.commands.run(
        "mkdir -p t/a/x/deep t/b t/.hidden; touch t/a/x/deep/1 t/a/2 t/c t/A t/B; ln -s a t/link; "
        "ln -s c t/zfile; ln -s /none t/gone; mkfifo t/pipe"
    )
    top = either.files.list("t", depth=1, user="user", request_timeout=30)
    # What is no file, directory or link to one has no type that the SDK knows, and is left out by it.
    assert [entry.name for entry in top] == [".hidden", "A", "B", "a", "b", "c", "link", "zfile"]
    assert [entry.name for entry in top if entry.type is FileType.DIR] == [".hidden", "a", "b", "link"]
    targets = {entry.name: entry.symlink_target for entry in top if entry.symlink_target}
    assert targets == {"link": at("t/a"), "zfile": at("t/c")}
    deep = [entry.path.removeprefix(at("t/")) for entry in either.files.list("t", depth=9)]
    assert deep[:8] == [".hidden", "A", "B", "a", "a/2", "a/x", "a/x/deep", "a/x/deep/1"]
    assert "link/2" not in deep
    assert [entry.path for entry in either.files.list("t/link")] == [at("t/link/2"), at("t/link/x")]
    all_raise(InvalidArgumentException, "depth", lambda: either.files.list("t", depth=0))
    assert either.files.list("t/b") == []


def test_directories_and_users(either: Any) -> None:
    assert either.files.make_dir("/opt/by/root", user="root", request_timeout=30) is True
    assert either.files.make_dir("/opt/by/user", user="user") is True
    assert either.files.make_dir("/opt/by/user") is False
    assert either.files.exists("~/x", user="root", request_timeout=30) is False
    shown = either.commands.run("stat -c '%U %a' /opt/by /opt/by/root /opt/by/user").stdout
    assert shown == "root 755\nroot 755\nuser 755\n"
    info = either.files.get_info("/opt/by/user", user="root", request_timeout=30)
    assert (info.type, info.owner, info.group, info.permissions) == (
        FileType.DIR,
        "user",
        "user",
        "drwxr-xr-x",
    )
    either.files.remove("/opt/by", user="root", request_timeout=30)
    assert not either.files.exists("/opt/by")


def test_renaming_over_what_is_there(either: Any) -> None:
    either.commands.run(
        "mkdir -p full/x empty dir/in; echo old > old; echo new > new; echo f > dir/in/f; ln -s old link"
    )
    assert either.files.rename("new", "old", user="user", request_timeout=30).path == at("old")
    assert either.files.read("old") == "new\n"
    assert not either.files.exists("new")
    assert either.files.rename("dir", "empty").type is FileType.DIR
    assert either.files.read("empty/in/f") == "f\n"
    assert either.files.rename("link", "made/on/the/way").symlink_target == at("made/on/the/old")
    all_raise(
        InvalidArgumentException,
        "(?i)director",
        lambda: either.files.rename("empty", "full"),
        lambda: either.files.rename("old", "full"),
        lambda: either.files.rename("full", "old"),
    )
    all_raise(InvalidArgumentException, "not valid", lambda: either.files.rename("full", "full/x/y"))
    all_raise(FileNotFoundException, "does not exist", lambda: either.files.rename("none", "x/y/z"))
    assert not either.files.exists("x")


def test_renaming_between_filesystems_and_layers(either: Any) -> None:
    """To the client a sandbox is one filesystem, whatever it is made of."""
    either.commands.run(
        "mkdir -p /dev/shm/d/in empty full/x; echo new > /dev/shm/f; chmod 600 /dev/shm/f; echo old > old; "
        "echo f > /dev/shm/d/in/f; ln -s /none /dev/shm/d/link; "
        "touch -d @1000 /dev/shm/d; chmod 2711 /dev/shm/d"
    )
    assert either.files.rename("/dev/shm/f", "old").permissions == "-rw-------"
    assert either.files.read("old") == "new\n"
    with pytest.raises(InvalidArgumentException, match="not empty"):
        either.files.rename("/dev/shm/d", "full")
    assert either.files.read("/dev/shm/d/in/f") == "f\n"
    either.files.rename("/dev/shm/d", "empty")
    assert either.files.read("empty/in/f") == "f\n"
    shown = either.commands.run("stat -c '%U %a %Y' empty; readlink empty/link").stdout
    assert shown == "user 2711 1000\n/none\n"
    assert either.files.list("/dev/shm") == []
    assert [entry.name for entry in either.files.list("/home/user") if "moving" in entry.name] == []


def test_renaming_what_the_template_brought(either: Any) -> None:
    """A directory of a lower layer has to be copied; nobody is to notice."""
    before = either.commands.run(
        "cd /usr/bin && stat -c '%n %U:%G %a %s %Y' * | sha256sum", user="root"
    ).stdout
    either.files.make_dir("/srv/empty", user="root")
    either.files.rename("/usr/bin", "/srv/empty", user="root")
    either.files.rename("/srv/empty", "/usr/bin", user="root")
    after = either.commands.run(
        "cd /usr/bin && stat -c '%n %U:%G %a %s %Y' * | sha256sum", user="root"
    ).stdout
    assert before == after
    assert either.commands.run("sudo -n id -un").stdout == "root\n"


def test_what_root_may_not_write_files_may_not_either(either: Any) -> None:
    def fails(act: Callable[[], object]) -> None:
        with pytest.raises(SandboxException, match=r"(?i)permi|read-only|not exist"):
            act()

    fails(lambda: either.files.write("/proc/sys/kernel/hostname", "x", user="root"))
    fails(lambda: either.files.write("/sys/x", "x", user="root"))
    fails(lambda: either.files.make_dir("/proc/x", user="root"))
    fails(lambda: either.files.remove("/proc/self", user="root"))


def test_time_is_limited_by_whoever_asks(either: Any) -> None:
    with pytest.raises((TimeoutException, httpx.TimeoutException)):
        either.files.list("/usr", depth=20, request_timeout=0.001)
    assert either.files.exists("/usr")


NOT_UTF8 = "touch \"$(printf 'd/a\\377b')\""


def test_names_that_are_not_text(either: Any) -> None:
    either.commands.run(f"mkdir d; {NOT_UTF8}; mkdir \"$(printf 'd/\\376')\"; touch d/plain")
    names = {entry.name for entry in either.files.list("d", depth=2)}
    assert names == {"a\N{REPLACEMENT CHARACTER}b", "\N{REPLACEMENT CHARACTER}", "plain"}
    either.files.remove("d")
    assert not either.files.exists("d")


def test_more_than_a_list_can_hold(sandbox: Sandbox) -> None:
    sandbox.commands.run("mkdir -p many/below; cd many/below; seq 200001 | xargs touch", timeout=0)
    with pytest.raises(SandboxException, match="more than 200000 entries") as failure:
        sandbox.files.list("many", depth=2, request_timeout=0)
    assert failure.type is SandboxException
    assert [entry.name for entry in sandbox.files.list("many")] == ["below"]
