"""The agent as PID 1 of a pid namespace, on an image with users of its own."""

from pathlib import Path

import pytest
from e2b import RateLimitException, Sandbox

from tests.agent.conftest import Agent, Start
from tests.agent.processes import open_files
from tests.agent.wire import call, end, error, start, stream

pytestmark = pytest.mark.root

NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--mount-proc", "/bin/sh", "-c")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("image")
    (directory / "passwd").write_text(
        "root:x:0:0:root:/root:/bin/bash\n"
        "broken line\n"
        "dev:x:1234:1235:Some One:/mnt:/bin/bash\n"
        "odd:x:none:none::/:\n"
    )
    (directory / "group").write_text("root:x:0:\ndev:x:1235:\nextra:x:7001:other,dev\nmore:x:7002:dev\n:::\n")
    return directory


@pytest.fixture(scope="module")
def agent(start_agent: Start, image: Path) -> Agent:
    binds = "".join(f"mount --bind {image}/{name} /etc/{name}; " for name in ("passwd", "group"))
    home = "mount -t tmpfs -o uid=1234,gid=1235,mode=755 tmpfs /mnt; "
    return start_agent((*NAMESPACES, home + binds + 'exec "$@"', "sh"), user="dev", env={})


@pytest.fixture(scope="module")
def sandbox(agent: Agent) -> Sandbox:
    return agent.sandbox()


def test_users_are_those_of_the_image(sandbox: Sandbox) -> None:
    shown = sandbox.commands.run("echo $USER $LOGNAME; pwd; grep -E '^(Uid|Gid|Groups)' /proc/self/status")
    assert shown.stdout.splitlines() == [
        "dev dev",
        "/mnt",
        "Uid:\t1234\t1234\t1234\t1234",
        "Gid:\t1235\t1235\t1235\t1235",
        "Groups:\t1235 7001 7002 ",
    ]
    entry = sandbox.files.write("made", "x")
    info = sandbox.files.get_info(entry.path)
    assert (info.owner, info.group) == ("dev", "dev")
    assert sandbox.commands.run("id -u", user="1234").stdout == "1234\n"


def test_a_malformed_user_is_unknown(agent: Agent) -> None:
    answer = call(agent.client, "filesystem.Filesystem/Stat", {"path": "/"}, authorization="Basic b2RkOg==")
    assert answer.json() == {"code": "unauthenticated", "message": "invalid username: 'odd'"}


def test_orphans_are_reaped(agent: Agent) -> None:
    orphans = "for i in $(seq 300); do (sleep 0.01 &) ; done; sleep 0.5"
    for _ in range(2):
        start(agent.client, "/bin/sh", "-c", orphans)
    received = start(agent.client, "/bin/sh", "-c", "! grep -l '^State:.Z' /proc/[0-9]*/status")
    assert end(received)["status"] == "exit status 0"


@pytest.mark.parametrize(
    "name", ["TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "PIPE", "CHLD", "STOP", "KILL", "SEGV"]
)
def test_signals_from_inside_do_nothing(agent: Agent, name: str) -> None:
    message = {"process": {"cmd": "/bin/sh", "args": ["-c", f"kill -{name} 1"]}}
    received = stream(agent.client, "process.Process/Start", message, authorization="Basic cm9vdDo=")
    assert end(received)["status"] == "exit status 0"
    assert agent.client.get("/health").status_code == 204


def test_killing_everything(agent: Agent, sandbox: Sandbox) -> None:
    handle = sandbox.commands.run("sleep 1000", background=True, user="root")
    received = stream(
        agent.client,
        "process.Process/Start",
        {"process": {"cmd": "/bin/sh", "args": ["-c", "kill -9 -1; kill -9 $$"]}},
        authorization="Basic cm9vdDo=",
    )
    assert end(received)["status"] == "signal: killed"
    with pytest.raises(Exception, match="code -1"):
        handle.wait()
    assert call(agent.client, "process.Process/List", {}).json() == {}


def test_a_user_cannot_look_into_the_agent(agent: Agent) -> None:
    for _ in range(20):
        received = start(agent.client, "/bin/sh", "-c", "kill -TERM 1; cat /proc/1/environ || ls /proc/1/fd")
        assert end(received)["exitCode"] != 0


def test_no_room_for_processes(start_agent: Start) -> None:
    agent = start_agent(("prlimit", "--nproc=1"), user="nobody")
    before = open_files(agent.pid)
    message = "the sandbox has reached its limit of processes"
    assert error(start(agent.client, "/bin/true")) == {"code": "resource_exhausted", "message": message}
    assert open_files(agent.pid) == before + 1  # the client's connection
    assert agent.client.get("/health").status_code == 204


def test_no_room_for_descriptors(start_agent: Start) -> None:
    agent = start_agent(("prlimit", "--nofile=16"))
    sandbox = agent.sandbox()
    handle = sandbox.commands.run("sleep 1000", background=True)
    with pytest.raises(RateLimitException, match="too many open files"):
        for _ in range(9):
            sandbox.files.watch_dir("/")
    assert handle.kill()
    assert agent.client.get("/health").status_code == 204


def test_an_image_without_users(start_agent: Start, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    hide = "".join(f"mount --bind {tmp_path}/empty /etc/{name}; " for name in ("passwd", "group"))
    agent = start_agent((*NAMESPACES, hide + 'exec "$@"', "sh"))
    sandbox = agent.sandbox()
    assert sandbox.commands.run("id -u; pwd").stdout == "0\n/root\n"
    assert sandbox.files.get_info("/etc").owner == "0"


def test_without_a_shell(start_agent: Start, tmp_path: Path) -> None:
    (tmp_path / "not-bash").touch()
    agent = start_agent((*NAMESPACES, f'mount --bind {tmp_path}/not-bash /bin/bash; exec "$@"', "sh"))
    received = start(agent.client, "/bin/bash", "-l", "-c", "true")
    assert error(received)["code"] == "permission_denied"
    assert agent.client.get("/health").status_code == 204
