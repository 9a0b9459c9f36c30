"""Template.build: every kind of step, on the base template, and what a sandbox finds of it."""

import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from e2b import (
    BuildException,
    FileUploadException,
    Sandbox,
    TemplateBuildStatus,
    wait_for_file,
    wait_for_port,
    wait_for_process,
    wait_for_timeout,
    wait_for_url,
)
from e2b.template.logger import LogEntry, LogEntryEnd, LogEntryStart

from tests.instance import Instance
from tests.sdk.building import Sdk, new_name, said

pytestmark = [pytest.mark.sdk, pytest.mark.root]


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """src/{a.py, b.py, deep/{run.sh, link -> ../a.py, nowhere -> /none}}, top.txt, other.log"""
    deep = tmp_path / "src/deep"
    deep.mkdir(parents=True)
    for name in ("src/a.py", "src/b.py", "src/deep/run.sh", "top.txt", "other.log"):
        (tmp_path / name).write_text(f"content of {name}\n")
    (deep / "run.sh").chmod(0o754)
    (deep / "link").symlink_to("../a.py")
    (deep / "nowhere").symlink_to("/none")
    return tmp_path


async def test_commands_run_one_on_the_other(sdk: Sdk) -> None:
    template = (
        sdk.on_base()
        .run_cmd("echo one > first; pwd >> first; id -un >> first")
        .run_cmd(["cat first", "echo two > second"])
        .run_cmd("id -un > /etc/by-root", user="root")
        .make_dir("made/deep", mode=0o700)
        .rename("second", "made/renamed")
        .make_symlink("made", "link")
        .remove("/home/user/first", force=True)
    )
    built = await sdk.build(template)
    shown = said(built.name, "ls; cat link/renamed /etc/by-root; stat -c '%U %a' made/deep; test ! -e first")
    assert shown.splitlines() == ["link", "made", "two", "root", "user 700"]


async def test_a_shell_that_logs_in_and_its_environment(sdk: Sdk) -> None:
    template = (
        sdk.on_base()
        .set_envs({"COLOR": "green", "QUOTED": "a 'b' \"c\" $"})
        .set_envs({"BOTH": "$COLOR and ${COLOR}"})
        .run_cmd('shopt -q login_shell && echo "$BOTH|$QUOTED" > seen')
    )
    built = await sdk.build(template)
    assert said(built.name, "cat seen") == "green and green|a 'b' \"c\" $\n"
    assert said(built.name, 'echo "$BOTH|$QUOTED"') == "green and green|a 'b' \"c\" $\n"


async def test_users_and_working_directories(sdk: Sdk) -> None:
    template = (
        sdk.on_base()
        .set_workdir("/srv/app")
        .run_cmd("id -un > who; pwd >> who; stat -c %U . >> who")
        .set_user("builder")
        .set_workdir("inner")
        .run_cmd("id -un > who; pwd >> who; stat -c %U . >> who; echo $HOME >> who")
        .set_user("root")
        .run_cmd("id -un > /root/who")
        .set_user("builder")
    )
    built = await sdk.build(template)
    shown = said(built.name, "cat /srv/app/who who; pwd; id -un")
    assert shown.split() == [
        *("user", "/srv/app", "user"),
        *("builder", "/srv/app/inner", "builder", "/home/builder"),
        *("/srv/app/inner", "builder"),
    ]
    assert said(built.name, "cat /root/who", user="root") == "root\n"


async def test_files_are_copied_where_they_should_go(sdk: Sdk, context: Path) -> None:
    template = (
        sdk.on_base(context, file_ignore_patterns=["*.log"])
        .set_workdir("/work")
        .copy("top.txt", "renamed.txt")
        .copy("top.txt", "below/")
        .copy("src", "tree")
        .copy("src/*.py", "/globbed")
        .copy(["top.txt", "src/a.py"], "/many/")
        .copy(".", "/all/")
    )
    built = await sdk.build(template)
    shown = said(built.name, "cd /work; find . /globbed /many /all -mindepth 1 | sort")
    tree = ("a.py", "b.py", "deep", "deep/link", "deep/nowhere", "deep/run.sh")
    assert shown.splitlines() == sorted(
        [
            *("./renamed.txt", "./below", "./below/top.txt", "./tree"),
            *(f"./tree/{name}" for name in tree),
            *("/globbed/a.py", "/globbed/b.py", "/many/top.txt", "/many/a.py"),
            *("/all/top.txt", "/all/src", *(f"/all/src/{name}" for name in tree)),
        ]
    )
    assert said(built.name, "cat renamed.txt tree/a.py") == "content of top.txt\ncontent of src/a.py\n"


async def test_owners_modes_and_links(sdk: Sdk, context: Path) -> None:
    os.chown(context / "top.txt", 12345, 12345)
    template = (
        sdk.on_base(context)
        .copy("src", "/plain")
        .copy("src", "/resolved", resolve_symlinks=True)
        .copy("top.txt", "/root-owned.txt", user="root", mode=0o640)
        .copy("top.txt", "/group.txt", user="user:root", mode=0o604)
        .copy("src/deep", "/modes", mode=0o705)
    )
    (context / "src/deep/nowhere").unlink()
    built = await sdk.build(template)
    shown = said(
        built.name,
        "stat -c '%n %U:%G %a %F' /plain /plain/deep/run.sh /plain/deep/link /resolved/deep/link "
        "/root-owned.txt /group.txt /modes/run.sh; readlink /plain/deep/link",
        user="root",
    )
    assert shown.splitlines() == [
        "/plain user:user 755 directory",
        "/plain/deep/run.sh user:user 754 regular file",
        "/plain/deep/link user:user 777 symbolic link",
        "/resolved/deep/link user:user 644 regular file",
        "/root-owned.txt root:root 640 regular file",
        "/group.txt user:root 604 regular file",
        "/modes/run.sh user:user 705 regular file",
        "../a.py",
    ]


@pytest.mark.parametrize("gzip", [True, False])
async def test_an_upload_may_be_plain_or_compressed(sdk: Sdk, context: Path, gzip: bool) -> None:
    (context / "top.txt").write_text(new_name())
    built = await sdk.build(sdk.on_base(context).copy("top.txt", "x", gzip=gzip))
    assert said(built.name, "cat x") == (context / "top.txt").read_text()


async def test_files_are_uploaded_once_and_again_when_forced(sdk: Sdk, context: Path) -> None:
    (context / "top.txt").write_text(new_name())
    expected = ("Uploaded 'top.txt'", "Skipping upload of 'top.txt', already cached", "Uploaded 'top.txt'")
    for message, forced in zip(expected, (None, None, True), strict=True):
        seen: list[str] = []
        template = sdk.on_base(context).copy("top.txt", "x", force_upload=forced)
        await sdk.build(template, on_build_logs=lambda entry, seen=seen: seen.append(entry.message))
        assert message in seen


async def test_the_cache_and_how_to_go_without(sdk: Sdk) -> None:
    name = new_name()
    write = "cat /proc/sys/kernel/random/uuid > "

    async def built(template: object, **options: object) -> list[str]:
        await sdk.build(template, name, **options)
        return said(name, "cat first second").split()

    begun = sdk.on_base().run_cmd(write + f"first; : {name}")
    once = await built(begun.run_cmd(write + "second"))
    again = await built(sdk.on_base().run_cmd(write + f"first; : {name}").run_cmd(write + "second"))
    assert again == once
    half = sdk.on_base().run_cmd(write + f"first; : {name}").skip_cache().run_cmd(write + "second")
    from_second = await built(half)
    assert (from_second[0] == once[0], from_second[1] == once[1]) == (True, False)
    anew = sdk.on_base().run_cmd(write + f"first; : {name}").run_cmd(write + "second")
    fresh = await built(anew, skip_cache=True)
    assert fresh[0] != once[0]
    assert fresh[1] not in (once[1], from_second[1])


READY: dict[str, tuple[str, object]] = {
    "port": ("python3 -m http.server 8000", wait_for_port(8000)),
    "url": ("python3 -m http.server 8000", wait_for_url("http://localhost:8000/", 200)),
    "file": ("sleep 0.2; touch /tmp/there; sleep infinity", wait_for_file("/tmp/there")),
    "process": ("sleep 12345", wait_for_process("sleep")),
    "time": ("sleep 12345", wait_for_timeout(1000)),
    "command": ("sleep 0.2; touch /tmp/there", "test -e /tmp/there"),
}


@pytest.mark.parametrize("kind", READY)
async def test_a_start_command_runs_and_is_ready_in_every_sandbox(sdk: Sdk, kind: str) -> None:
    command, ready = READY[kind]
    template = sdk.on_base().set_envs({"A": "b"}).set_workdir("/srv").set_start_cmd(command, ready)
    built = await sdk.build(template)
    check = ready if isinstance(ready, str) else ready.get_cmd()  # type: ignore[attr-defined]
    for _ in range(2):
        assert said(built.name, f"{check} > /dev/null && echo yes") == "yes\n"


async def test_a_start_command_has_the_environment_of_the_template(sdk: Sdk) -> None:
    command = 'echo "$COLOR $(id -un) $(pwd)" > /tmp/seen; sleep infinity'
    template = sdk.on_base().set_envs({"COLOR": "green"}).set_workdir("/srv/app")
    built = await sdk.build(template.set_start_cmd(command, wait_for_file("/tmp/seen")))
    assert said(built.name, "cat /tmp/seen") == "green user /srv/app\n"


async def test_a_ready_command_alone(sdk: Sdk) -> None:
    built = await sdk.build(sdk.on_base().set_ready_cmd("test $(cut -d. -f1 /proc/uptime) -gt 0"))
    assert said(built.name, "echo up") == "up\n"


async def test_a_template_on_a_template(sdk: Sdk) -> None:
    name = new_name()
    first = sdk.on_base().set_envs({"A": "1"}).set_workdir("/srv/app").run_cmd("echo one > file")
    await sdk.build(first, f"{name}:v1")
    await sdk.build(sdk.on_base().run_cmd("echo two > file"), name)
    second = sdk.begin().from_template(f"{name}:v1").run_cmd('echo "$A $(pwd)" >> file')
    built = await sdk.build(second)
    assert said(built.name, "cat file; echo $A") == "one\n1 /srv/app\n1\n"


DOCKERFILE = """\
FROM e2bdev/base
ARG VERSION=3
ENV KIND=docker LABEL="a b"
WORKDIR /srv/app
COPY --chown=user:user src/a.py ./main.py
COPY top.txt /texts/
RUN echo "$VERSION $KIND $LABEL $(id -un) $(pwd)" > seen \\
    && cat main.py /texts/top.txt >> seen
RUN <<EOF
echo from a heredoc >> seen
EOF
USER user
"""


async def test_a_dockerfile(sdk: Sdk, context: Path) -> None:
    built = await sdk.build(sdk.begin(context).from_dockerfile(DOCKERFILE))
    assert said(built.name, "cat seen; id -un; pwd").splitlines() == [
        "3 docker a b root /srv/app",
        "content of src/a.py",
        "content of top.txt",
        "from a heredoc",
        "user",
        "/srv/app",
    ]


async def test_the_log_is_told_while_it_grows(sdk: Sdk) -> None:
    entries: list[LogEntry] = []
    template = sdk.on_base().run_cmd(
        f"for n in $(seq 300); do echo line $n; done; echo err >&2 # {new_name()}"
    )
    await sdk.build(template, on_build_logs=entries.append)
    assert isinstance(entries[0], LogEntryStart)
    assert isinstance(entries[-1], LogEntryEnd)
    messages = [entry.message for entry in entries]
    assert [m for m in messages if m.startswith("line ")] == [f"line {n}" for n in range(1, 301)]
    assert "err" in messages
    assert any("RUN for n in" in message for message in messages)
    assert {entry.level for entry in entries} <= {"debug", "info", "warn", "error"}


def line_of(error: BaseException) -> str:
    """The line of this file that the SDK says is to blame."""
    frames = traceback.extract_tb(error.__traceback__)
    return next(frame.line or "" for frame in reversed(frames) if frame.filename == __file__)


async def test_a_step_that_fails_names_itself(sdk: Sdk) -> None:
    template = sdk.on_base().run_cmd(f"echo fine # {new_name()}")
    template = template.run_cmd("echo out; echo because >&2; exit 7")  # to blame
    template = template.run_cmd("echo never")
    seen: list[str] = []
    with pytest.raises(BuildException) as failure:
        await sdk.build(template, on_build_logs=lambda entry: seen.append(entry.message))
    assert "failed to run command 'echo out; echo because >&2; exit 7'" in str(failure.value)
    assert "exit status 7" in str(failure.value)
    assert "because" in str(failure.value)
    assert "to blame" in line_of(failure.value)
    assert {"fine", "out", "because"} <= set(seen)
    assert "never" not in seen


FAILING: dict[str, tuple[Callable[[Sdk, Path], object], str]] = {
    "a user that is not there": (
        lambda sdk, _: sdk.on_base().run_cmd("true", user="ghost"),
        "failed to run command 'true': command failed: unauthenticated: invalid username: 'ghost'",
    ),
    "a template that is not there": (
        lambda sdk, _: sdk.begin().from_template("no-such-template").run_cmd("true"),
        "template 'no-such-template' not found",
    ),
    "an owner that is not there": (
        lambda sdk, context: sdk.on_base(context).copy("top.txt", "/x", user="ghost"),
        "ghost",
    ),
    "a file where a directory should be": (
        lambda sdk, context: sdk.on_base(context).copy("top.txt", "/etc/passwd/x"),
        "/etc/passwd",
    ),
}


@pytest.mark.parametrize("what", FAILING)
async def test_what_cannot_be_built(sdk: Sdk, context: Path, what: str) -> None:
    make, message = FAILING[what]
    name = new_name()
    with pytest.raises(BuildException) as failure:
        await sdk.build(make(sdk, context), name)
    assert message in str(failure.value)
    with pytest.raises(Exception, match=f"template '{name}' could not be made"):
        Sandbox.create(name)


async def test_in_the_background(sdk: Sdk) -> None:
    template = sdk.on_base().run_cmd(f"for n in $(seq 120); do echo line $n; done # {new_name()}")
    info = await sdk.call("build_in_background", template, new_name())
    seen: list[str] = []
    states = []
    while True:
        status = await sdk.call("get_build_status", info, logs_offset=len(seen))
        assert (status.build_id, status.template_id) == (info.build_id, info.template_id)
        assert len(status.log_entries) <= 100
        seen += [entry.message for entry in status.log_entries]
        states.append(status.status)
        if status.status is TemplateBuildStatus.READY and not status.log_entries:
            break
    assert set(states[:-1]) <= {
        TemplateBuildStatus.WAITING,
        TemplateBuildStatus.BUILDING,
        TemplateBuildStatus.READY,
    }
    assert [m for m in seen if m.startswith("line ")] == [f"line {n}" for n in range(1, 121)]


async def test_a_failure_in_the_background_has_its_step(sdk: Sdk) -> None:
    template = sdk.on_base().run_cmd("true").run_cmd("exit 1")
    info = await sdk.call("build_in_background", template, new_name())
    while True:
        status = await sdk.call("get_build_status", info)
        if status.status is TemplateBuildStatus.ERROR:
            break
        assert status.reason is None
    assert status.reason.step == "2"
    assert "exit status 1" in status.reason.message


async def test_sizes_and_sandboxes_of_older_builds(sdk: Sdk) -> None:
    name = new_name()
    await sdk.build(sdk.on_base().run_cmd("echo old > version"), name, cpu_count=1, memory_mb=256)
    old = Sandbox.create(name, timeout=120)
    try:
        await sdk.build(
            sdk.on_base().run_cmd("echo new > version"), name, memory_mb=512, min_free_disk_mb=100
        )
        info = old.get_info()
        assert (info.cpu_count, info.memory_mb) == (1, 256)
        assert old.commands.run("cat version").stdout == "old\n"
        assert said(name, "cat version") == "new\n"
    finally:
        old.kill()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cpu_count": 0}, "cpuCount is 0"),
        ({"memory_mb": 64}, "memoryMB is 64"),
        ({"tags": ["Not a tag"]}, ":Not a tag' is not a name"),
        ({"name": "Upper"}, "'Upper' is not a name"),
        ({"name": "x" * 200}, "name is"),
        ({"name": "x:"}, "'x:' is not a name"),
    ],
)
async def test_what_cannot_be_asked_for(sdk: Sdk, options: dict[str, object], message: str) -> None:
    asked: dict[str, Any] = {"name": new_name(), **options}
    with pytest.raises(BuildException) as failure:
        await sdk.build(sdk.on_base().run_cmd("true"), **asked)
    assert message in str(failure.value)
    assert "400" in str(failure.value)


async def test_an_archive_that_is_none(sdk: Sdk, context: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("e2b.template_sync.build_api", "e2b.template_async.build_api"):
        monkeypatch.setattr(f"{module}.tar_file_stream", lambda *_: (context / "src/a.py").open("rb"))
    (context / "top.txt").write_text(new_name())
    with pytest.raises(FileUploadException, match="400"):
        await sdk.build(sdk.on_base(context).copy("top.txt", "x"))


async def test_no_link_is_in_the_log_of_the_server(sdk: Sdk, context: Path, berm: Instance) -> None:
    (context / "top.txt").write_text(new_name())
    await sdk.build(sdk.on_base(context).copy("top.txt", "x"))
    for log in (berm.home / "run").glob("*.log"):
        assert "signature" not in log.read_text()
