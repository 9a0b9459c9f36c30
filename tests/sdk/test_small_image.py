"""A berm whose base image is musl and busybox: no Python, no glibc, no bash inside."""

from collections.abc import Callable, Iterator

import pytest
from e2b import CommandExitException, FilesystemEventType, PtySize, RateLimitException, Sandbox

from tests.images.oci import running_registry, tree_layer
from tests.images.small import busybox_rootfs
from tests.instance import NUMBER, Instance, running


@pytest.fixture(scope="module")
def berm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """One of its own, whose base is pulled from a registry on loopback."""
    work = tmp_path_factory.mktemp("small")
    with running_registry(work) as registry:
        registry.push("small:1", [tree_layer(busybox_rootfs(work / "rootfs"))], {"Env": ["FROM_IMAGE=yes"]})
        image = f"{registry.address}/small:1"
        settings = {"BERM_BASE_IMAGE": image, "BERM_POOL_GB": "4", "BERM_MAX_SANDBOXES": "3"}
        with running(work / "home", NUMBER + 1, **settings) as instance:
            yield instance


def test_there_is_no_python_no_glibc_and_no_bash(sandbox: Sandbox) -> None:
    assert sandbox.files.read("/etc/os-release") == "ID=small\n"
    for program in ("python3", "ldconfig"):
        with pytest.raises(CommandExitException):
            sandbox.commands.run(f"command -v {program}")
    assert sandbox.files.read("/bin/bash").startswith("#!/bin/sh")


def test_user_becomes_root_by_a_sudo_of_ours_and_others_do_not(sandbox: Sandbox) -> None:
    def out(command: str, user: str = "user") -> str:
        return sandbox.commands.run(command, user=user).stdout

    assert out("sudo id -un; sudo -n -E A=b sh -c 'echo $A $HOME'; sudo -u user -- id -un") == (
        "root\nb /root\nuser\n"
    )
    assert out("sudo sh -c 'echo \"$1\"' sh 'a  b'") == "a  b\n"
    assert out("echo in | sudo cat; sudo -i sh -c 'exit 3' || echo $?") == "in\n3\n"
    sandbox.commands.run("sudo sh -c 'echo other:x:1009:1009::/:/bin/sh >> /etc/passwd'")
    with pytest.raises(CommandExitException):
        out("sudo id", user="other")
    with pytest.raises(CommandExitException) as refused:
        out("sudo -u missing id")
    assert "unknown user missing" in refused.value.stderr


def test_commands(sandbox: Sandbox) -> None:
    done = sandbox.commands.run("id -un; pwd; echo $FROM_IMAGE; echo err >&2; printf 'a\\n' | wc -l")
    assert done.stdout == "user\n/home/user\nyes\n1\n"
    assert done.stderr == "err\n"
    assert sandbox.commands.run("id -u", user="root").stdout == "0\n"
    with pytest.raises(CommandExitException) as failure:
        sandbox.commands.run("exit 3")
    assert failure.value.exit_code == 3


def test_input(sandbox: Sandbox) -> None:
    handle = sandbox.commands.run("cat", background=True, stdin=True)
    handle.send_stdin("through")
    handle.close_stdin()
    assert handle.wait().stdout == "through"


def test_files(sandbox: Sandbox) -> None:
    data = bytes(range(256)) * 10_000
    sandbox.files.write("dir/data", data, metadata={"key": "value"})
    assert bytes(sandbox.files.read("dir/data", format="bytes")) == data
    info = sandbox.files.get_info("dir/data")
    assert (info.owner, info.group, info.size, info.metadata) == ("user", "user", len(data), {"key": "value"})
    assert [entry.name for entry in sandbox.files.list("dir")] == ["data"]


def test_a_watch(sandbox: Sandbox) -> None:
    sandbox.files.make_dir("watched")
    watch = sandbox.files.watch_dir("watched", recursive=True)
    sandbox.files.write("watched/sub/file", "x")
    seen: set[tuple[str, FilesystemEventType]] = set()
    while ("sub/file", FilesystemEventType.CREATE) not in seen:
        seen |= {(event.name, event.type) for event in watch.get_new_events()}
    watch.stop()


def test_a_terminal(sandbox: Sandbox) -> None:
    terminal = sandbox.pty.create(PtySize(rows=33, cols=99))
    sandbox.pty.send_stdin(terminal.pid, b"stty size; exit 4\n")
    shown: list[bytes] = []
    with pytest.raises(CommandExitException) as failure:
        terminal.wait(on_pty=shown.append)
    assert failure.value.exit_code == 4
    assert b"33 99" in b"".join(shown)


def test_the_limit_of_sandboxes(create: Callable[..., Sandbox]) -> None:
    made = [create() for _ in range(3)]
    with pytest.raises(RateLimitException, match="3 sandboxes are running, which is the limit"):
        create()
    made[0].kill()
    assert create().commands.run("echo room").stdout == "room\n"
