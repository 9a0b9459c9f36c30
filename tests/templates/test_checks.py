from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from berm.errors import BermError, Code
from berm.templates.checks import MAX_STAGES, MAX_STEPS, MAX_TEXT, check, is_files_hash
from berm.templates.plan import (
    Account,
    Action,
    Base,
    Copy,
    Directory,
    Health,
    Inline,
    Mount,
    Plan,
    Run,
    Settings,
    Stage,
    Step,
)

HASH = "0123456789abcdef" * 4
IMAGE = Base("image", "debian:13", f"sha256:{HASH}")
SCRATCH = Base("scratch")
STAGE = Base("stage", "0")


def plan(*actions: Action, base: Base = SCRATCH) -> Plan:
    """Of two stages; the actions are in the second."""
    steps = tuple(Step("text", action=action) for action in actions)
    return Plan((Stage("first", IMAGE), Stage("second", base, steps)))


GOOD: list[Action] = [
    Run(("true",), user="1000:www-data", workdir="/home/user", env={"A": "="}, args={"B": ""}),
    Run(("true",), mounts=(Mount("bind", "/src", base=STAGE, source="a/b"),)),
    Run(("true",), mounts=(Mount("bind", "/src", files_hash=HASH),)),
    Run(("true",), mounts=(Mount("cache", "/root/.cache", id="pip", base=STAGE, uid=1000),)),
    Run(("true",), mounts=(Mount("secret", "", id="token", env="TOKEN"),)),
    Run(("true",), mounts=(Mount("tmpfs", "/tmp", size_mb=64),)),
    Copy(("a", "b/*.py", "."), "/code/", files_hash=HASH, owner="user:user", mode=0o4755),
    Copy(("bin",), "/usr/bin", base=STAGE),
    Copy(("bin",), "/usr/bin", base=IMAGE),
    Copy((), "/etc/x", inline=(Inline("x", "content"),)),
    Directory("/a/b", "user"),
    Account("app"),
]


@pytest.mark.parametrize("action", GOOD)
def test_what_builds_do(action: Action) -> None:
    check(plan(action))


@pytest.mark.parametrize("base", [IMAGE, STAGE, SCRATCH, Base("template", "ours/base:v1")])
def test_what_builds_begin_with(base: Base) -> None:
    check(plan(base=base))


def test_all_settings() -> None:
    health = Health(("true",), start_period=0, retries=1)
    check(replace(plan(), settings=Settings({"A": "b"}, "user:1", "/", health=health, start_cmd="x\ny &")))


RUN = Run(("true",))
COPY = Copy(("a",), "/b", files_hash=HASH)


def mount(**fields: Any) -> Run:
    return replace(RUN, mounts=(Mount(**{"kind": "cache", "target": "/x", "id": "x", **fields}),))


BAD: list[tuple[Action, str]] = [
    (replace(RUN, argv=()), "argv is (), which is not a program"),
    (replace(RUN, argv=("",)), "argv is ('',), which is not a program"),
    (replace(RUN, argv=("x" * (MAX_TEXT + 1),)), f"which is not text of at most {MAX_TEXT} bytes"),
    (replace(RUN, argv=("x",) * 1001), "argv has 1001 items, which is more than 1000"),
    (replace(RUN, workdir=""), "workdir is '', which is not an absolute path"),
    (replace(RUN, workdir="/a/../b"), "workdir is '/a/../b', which is not an absolute path without .."),
    (replace(RUN, user="x" * 257), "which is not a name of at most 256 characters"),
    (replace(RUN, user="a\nb"), r"user is 'a\nb', which is not a name"),
    (replace(RUN, env={"": "x"}), "env is '', which is not the name of a variable"),
    (replace(RUN, args={"A=B": "x"}), "args is 'A=B', which is not the name of a variable"),
    (replace(RUN, env={"A": "x" * MAX_TEXT}), "env.A is"),
    (mount(target="x"), "mounts.0.target is 'x', which is not an absolute path"),
    (mount(target="/"), "mounts.0.target is '/', which is not a place below /"),
    (mount(target="/./"), "mounts.0.target is '/./', which is not a place below /"),
    (mount(source="../x"), "mounts.0.source is '../x', which is not a relative path"),
    (mount(source="/x"), "mounts.0.source is '/x', which is not a relative path"),
    (mount(id=""), "mounts.0.id is '', which is not the name of a cache"),
    (mount(kind="secret", id=""), "mounts.0.id is '', which is not the name of a secret"),
    (mount(kind="secret", target="", env=""), "mounts.0.target is '', which is not an absolute path"),
    (mount(kind="bind"), "mounts.0 is 'bind', which is not a mount with the one content"),
    (mount(kind="bind", base=STAGE, files_hash=HASH), "mounts.0 is 'bind'"),
    (mount(kind="tmpfs", base=STAGE), "mounts.0 is 'tmpfs'"),
    (mount(kind="secret", files_hash=HASH), "mounts.0 is 'secret'"),
    (mount(kind="bind", files_hash="../../etc"), "mounts.0.files_hash is '../../etc'"),
    (mount(base=Base("stage", "1")), "mounts.0.base.name is '1', which is not the number of an earlier"),
    (mount(uid=65536), "mounts.0.uid is 65536, which is not from 0 to 65535"),
    (mount(gid=-1), "mounts.0.gid is -1"),
    (mount(mode=0o10000), "mounts.0.mode is 4096"),
    (mount(size_mb=-1), "mounts.0.size_mb is -1"),
    (replace(COPY, files_hash=""), "which is not one of files_hash, base and inline"),
    (replace(COPY, base=STAGE), "which is not one of files_hash, base and inline"),
    (replace(COPY, files_hash=HASH[1:]), "files_hash is"),
    (replace(COPY, files_hash=HASH.upper()), "files_hash is"),
    (replace(COPY, sources=()), "sources is (), which is not a list of at least one"),
    (replace(COPY, sources=("a/../../b",)), "sources.0 is 'a/../../b', which is not a relative path"),
    (replace(COPY, sources=("/etc/shadow",)), "sources.0 is '/etc/shadow'"),
    (replace(COPY, target="b"), "target is 'b', which is not an absolute path"),
    (replace(COPY, target="/../b"), "target is '/../b'"),
    (replace(COPY, target="/" + "x" * 4096), "which is not an absolute path"),
    (replace(COPY, mode=-1), "mode is -1"),
    (replace(COPY, chmod="u+q"), "chmod is 'u+q', which is not changes as chmod(1) takes them"),
    (replace(COPY, chmod="u+x," * 99 + "u+x"), "chmod is 'u+x,"),
    (replace(COPY, exclude=("*.md", "[a")), "exclude.1 is '[a', which is not a pattern as in .dockerignore"),
    (replace(COPY, exclude=("!a",)), "exclude.0 is '!a'"),
    (replace(COPY, exclude=("/a",)), "exclude.0 is '/a'"),
    (replace(COPY, exclude=("a",) * 1001), "exclude has 1001 items"),
    (replace(COPY, parents=True, sources=("a/./../../b",)), "sources.0 is 'a/./../../b'"),
    (replace(COPY, files_hash="", base=Base("image", "x")), "base.digest is '', which is not sha256:"),
    (Copy((), "/b", inline=(Inline("..", ""),)), "inline.0.name is '..', which is not the name of a file"),
    (Copy((), "/b", inline=(Inline("a/b", ""),)), "inline.0.name is 'a/b'"),
    (Directory("a"), "path is 'a', which is not an absolute path"),
    (Account("../x"), "name is '../x', which is not a user name"),
    (Account("a:b"), "name is 'a:b', which is not a user name"),
]


@pytest.mark.parametrize(("action", "message"), BAD)
def test_what_a_builder_must_not_see(action: Action, message: str) -> None:
    refused(plan(RUN, action), message, "plan.stages.1.steps.1.action")


@pytest.mark.parametrize(
    ("base", "message"),
    [
        (Base("image", "x"), "base.digest is ''"),
        (Base("image", "x", "sha256:../../../x"), "base.digest is 'sha256:../../../x'"),
        (Base("image", "", IMAGE.digest), "base.name is ''"),
        (Base("template", ""), "base.name is ''"),
        (Base("template", "x", "y"), "base.digest is 'y', which is not empty"),
        (Base("stage", "1"), "base.name is '1', which is not the number of an earlier stage"),
        (Base("stage", "-1"), "base.name is '-1'"),
        (Base("stage", "00"), "base.name is '00'"),
        (Base("stage", "\u0660"), "which is not the number of an earlier stage"),
        (Base("scratch", "x"), "base.name is 'x', which is not empty"),
    ],
)
def test_what_a_stage_must_not_begin_with(base: Base, message: str) -> None:
    refused(plan(base=base), message, "plan.stages.1.base")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Settings({"": ""}), "plan.settings.env is ''"),
        (Settings(workdir="x"), "plan.settings.workdir is 'x'"),
        (Settings(cmd=("x",) * 1001), "plan.settings.cmd has 1001 items"),
        (Settings(labels={"x": "y" * (MAX_TEXT + 1)}), "plan.settings.labels is"),
        (Settings(start_cmd="y" * (MAX_TEXT + 1)), "plan.settings.start_cmd is"),
        (Settings(health=Health(())), "plan.settings.health.argv is ()"),
        (Settings(health=Health(("x",), interval=float("nan"))), "plan.settings.health.interval is nan"),
        (Settings(health=Health(("x",), timeout=-1)), "plan.settings.health.timeout is -1"),
        (Settings(health=Health(("x",), retries=10**9)), "plan.settings.health.retries is 1000000000"),
    ],
)
def test_settings_are_bounded(settings: Settings, message: str) -> None:
    refused(replace(plan(), settings=settings), message)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: replace(p, version=2), "plan.version is 2, and this server knows version 1"),
        (lambda p: replace(p, stages=()), "plan.stages is (), which is not a list of at least one"),
        (lambda p: replace(p, stages=p.stages * MAX_STAGES), f"plan.stages has {2 * MAX_STAGES} items"),
        (
            lambda p: replace(p, stages=(replace(p.stages[0], steps=(Step("x"),) * (MAX_STEPS + 1)),)),
            f"plan.stages has {MAX_STEPS + 1} steps",
        ),
        (lambda p: replace(p, stages=(replace(p.stages[0], name="\t"),)), "plan.stages.0.name is"),
        (
            lambda p: replace(p, stages=(replace(p.stages[0], steps=(Step("x" * (MAX_TEXT + 1)),)),)),
            "plan.stages.0.steps.0.text is",
        ),
    ],
)
def test_the_whole_is_bounded(make: Callable[[Plan], Plan], message: str) -> None:
    refused(make(plan()), message)


@pytest.mark.parametrize(
    ("text", "right"),
    [(HASH, True), (HASH + "\n", False), (HASH[1:], False), ("g" * 64, False), ("", False)],
)
def test_what_files_may_be_called(text: str, right: bool) -> None:
    assert is_files_hash(text) is right


def refused(wrong: Plan, *messages: str) -> None:
    with pytest.raises(BermError) as failure:
        check(wrong)
    assert failure.value.code is Code.INVALID_ARGUMENT
    for message in messages:
        assert message in str(failure.value)
    assert len(str(failure.value)) < 300
