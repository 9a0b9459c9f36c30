"""Two different things never share a key; the same thing, however it is written, has one."""

import random
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

import pytest

from berm.templates.keys import PROXIES, base_key, root_key, step_key
from berm.templates.plan import Account, Action, Base, Copy, Directory, Inline, Mount, Run, Settings
from tests.templates.planning import ANY, DIGEST, Folder, chain, last_key, planned

STAGES = ["key of stage 0", "key of stage 1"]
IMAGE = Base("image", "debian:12", DIGEST)


def key(action: Action, parent: str = "parent", stages: Sequence[str] = STAGES, scope: str = "team") -> str:
    return step_key(parent, action, stages, scope)


# One field at a time

MOUNT = Mount("bind", "/m", "src", Base("stage", "0"))
CHANGES: list[tuple[Any, dict[str, Any]]] = [
    (
        Run(("sh", "-c", "x"), mounts=(MOUNT,)),
        {
            "argv": ("sh", "-cx"),
            "user": "me",
            "workdir": "/w",
            "env": {"A": "1"},
            "args": {"B": "1"},
            "mounts": (),
            "network": False,
            "kind": None,
        },
    ),
    (
        Copy(("a", "b"), "/x/", files_hash="f" * 64),
        {
            "sources": ("b", "a"),
            "target": "/x",
            "files_hash": "e" * 64,
            "base": IMAGE,
            "inline": (Inline("n", "c"),),
            "owner": "0",
            "mode": 0,
            "chmod": "+x",
            "exclude": ("*.md",),
            "parents": True,
            "unpack": True,
            "kind": None,
        },
    ),
    (Directory("/x"), {"path": "/y", "owner": "me", "kind": None}),
    (Account("me"), {"name": "you", "kind": None}),
]


@pytest.mark.parametrize(
    ("action", "field", "value"),
    [(action, field, value) for action, changes in CHANGES for field, value in changes.items()],
)
def test_each_field_of_an_action_counts(action: Any, field: str, value: Any) -> None:
    if value is not None:
        assert key(replace(action, **{field: value})) != key(action)


@pytest.mark.parametrize(("action", "changes"), CHANGES)
def test_no_field_of_an_action_is_forgotten(action: Any, changes: dict[str, Any]) -> None:
    assert {field.name for field in fields(action)} == changes.keys()


MOUNT_CHANGES: dict[str, Any] = {
    "kind": "cache",
    "target": "/n",
    "source": "other",
    "base": Base("stage", "1"),
    "files_hash": "f" * 64,
    "id": "x",
    "env": "X",
    "read_only": True,
    "required": True,
    "sharing": "locked",
    "size_mb": 1,
    "mode": 0o700,
    "uid": 1,
    "gid": 1,
}


@pytest.mark.parametrize(("field", "value"), MOUNT_CHANGES.items())
def test_each_field_of_a_mount_counts(field: str, value: Any) -> None:
    other = replace(MOUNT, **{field: value})
    assert key(Run(("x",), mounts=(other,))) != key(Run(("x",), mounts=(MOUNT,)))


def test_no_field_of_a_mount_is_forgotten() -> None:
    assert {field.name for field in fields(Mount)} == MOUNT_CHANGES.keys()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Run(("a b",)), Run(("a", "b"))),
        (Run(("a", "")), Run(("a",))),
        (Run(("x",), env={"A": "1", "B": "2"}), Run(("x",), env={"A": "2", "B": "1"})),
        (Run(("x",), env={"A": '1","B":"2'}), Run(("x",), env={"A": "1", "B": "2"})),
        (Run(("x",), env={"A": ""}), Run(("x",))),
        (Copy(("a,b",), "/x", "f"), Copy(("a", "b"), "/x", "f")),
        (Copy((), "/x", inline=(Inline("a", "bc"),)), Copy((), "/x", inline=(Inline("ab", "c"),))),
        (Copy(("a",), "/x", "f", mode=0), Copy(("a",), "/x", "f")),
        (
            Copy(("a",), "/x", base=IMAGE),
            Copy(("a",), "/x", base=replace(IMAGE, digest="sha256:" + "e" * 64)),
        ),
        (Copy(("a",), "/x", base=Base("stage", "0")), Copy(("a",), "/x", base=Base("stage", "1"))),
        (Directory("me"), Account("me")),
    ],
)
def test_what_only_looks_alike_differs(one: Action, other: Action) -> None:
    assert key(one) != key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Run(("x",), env={"A": "1", "B": "2"}), Run(("x",), env={"B": "2", "A": "1"})),
        (Run(("x",), env={"A": "1"}), Run(("x",), args={"A": "1"})),
        (Run(("x",), env={"A": "1"}, args={"A": "2"}), Run(("x",), env={"A": "1"})),
        (Copy(("a",), "/x", base=IMAGE), Copy(("a",), "/x", base=replace(IMAGE, name="mirror/debian"))),
        *((Run(("x",), args={proxy: "http://p"}), Run(("x",))) for proxy in sorted(PROXIES)),
    ],
)
def test_what_has_the_same_effect_has_one_key(one: Action, other: Action) -> None:
    assert key(one) == key(other)


def test_a_proxy_in_the_environment_counts() -> None:
    assert key(Run(("x",), env={"HTTP_PROXY": "p"})) != key(Run(("x",)))


def test_the_parent_counts() -> None:
    assert key(Account("me"), "one") != key(Account("me"), "two")


def test_a_stage_counts_by_what_is_in_it() -> None:
    copy = Copy(("a",), "/x", base=Base("stage", "0"))
    assert key(copy, stages=["k", "l"]) == key(replace(copy, base=Base("stage", "1")), stages=["l", "k"])
    assert key(copy, stages=["k"]) != key(copy, stages=["l"])


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (Base("image", "a", DIGEST), Base("image", "b", DIGEST), True),
        (Base("image", "a", DIGEST), Base("image", "a", "sha256:" + "e" * 64), False),
        (Base("image", "a"), Base("image", "b"), False),
        (Base("image", DIGEST), Base("image", "a", DIGEST), False),
        (Base("template", "a", "build"), Base("image", "a", "build"), False),
        (Base("scratch"), Base("template", ""), False),
    ],
)
def test_a_base_counts_by_its_digest(one: Base, other: Base, same: bool) -> None:
    assert (root_key("team", one) == root_key("team", other)) is same


def test_teams_are_kept_apart() -> None:
    assert root_key("one", IMAGE) != root_key("two", IMAGE)
    copy = Copy(("a",), "/x", base=IMAGE)
    assert key(copy, scope="one") != key(copy, scope="two")
    run = Run(("x",), mounts=(replace(MOUNT, base=IMAGE),))
    assert key(run, scope="one") != key(run, scope="two")


def test_a_stage_has_the_key_of_its_end() -> None:
    assert base_key(Base("stage", "1"), STAGES, "team") == STAGES[1]


# Whole Dockerfiles

PROGRAM = """
FROM a AS tools
ARG V=1
RUN build all
FROM b
ARG W=1
ENV E=1
WORKDIR /w
COPY --chown=me --chmod=644 a.txt b.txt ./
RUN --mount=type=cache,target=/c --mount=type=secret,id=s --network=none install $E
COPY --from=tools /out /out
RUN --mount=from=tools,source=/out,target=/in test
"""


def key_of(text: str, files: Folder = ANY, **build_args: str) -> str:
    return last_key(planned(text, build_args, files=files))


ALIKE = {
    "comments": ("FROM b", "# about\n\n# this\nFROM b"),
    "blank lines": ("RUN build", "\n\n\nRUN build"),
    "the case of keywords": ("RUN build", "run build"),
    "a stage's name": ("tools", "other"),
    "the order of flags": ("--chown=me --chmod=644", "--chmod=644 --chown=me"),
    "the order of mounts": (
        "--mount=type=cache,target=/c --mount=type=secret,id=s",
        "--mount=type=secret,id=s --mount=type=cache,target=/c",
    ),
    "the order of options": ("type=cache,target=/c", "target=/c,type=cache"),
    "the names of options": ("type=cache,target=/c", "type=cache,dst=/c"),
    "a default that is written": (
        "type=cache,target=/c",
        "type=cache,target=/c,id=/c,sharing=shared,mode=755",
    ),
    "a way to write a mode": ("--chmod=644", "--chmod=0644"),
    "a way to write a path": ("WORKDIR /w", "WORKDIR /v/..//w/"),
    "a relative target": ("b.txt ./", "b.txt /w/"),
    "a source's dot": ("a.txt b.txt", "./a.txt b.txt"),
    "the JSON form of COPY": ("a.txt b.txt ./", '["a.txt", "b.txt", "./"]'),
    "quotes": ("ENV E=1", 'ENV E="1"'),
    "the old form of ENV": ("ENV E=1", "ENV E 1"),
    "one ENV or two": ("ENV E=1", "ENV E=0\nENV E=1"),
    "an argument that came later": ("target=/in test\n", "target=/in test\nARG LATER=1\n"),
    "an argument before FROM": ("FROM a AS tools", "ARG EARLY=1\nFROM a AS tools"),
    "an argument without a value": ("ARG W=1", "ARG W=1\nARG NOTHING"),
    "an argument that is hidden": ("ENV E=1", "ARG E=5\nENV E=1"),
    "a variable or what it is": ("--chown=me", "--chown=${NAME:-me}"),
    "labels and the like": ("WORKDIR /w", "LABEL a=b\nEXPOSE 80\nCMD x\nUSER me\nUSER root\nWORKDIR /w"),
    "a stage that is not needed": ("FROM b\n", "FROM c AS unused\nRUN z\nFROM b\n"),
    "another order of stages": ("FROM b\n", "FROM c AS unused\nCOPY --from=tools / /\nFROM b\n"),
    "link": ("--from=tools /out", "--from=tools --link /out"),
}


@pytest.mark.parametrize(("old", "new"), ALIKE.values(), ids=ALIKE)
def test_what_does_not_matter(old: str, new: str) -> None:
    assert old in PROGRAM
    assert key_of(PROGRAM.replace(old, new)) == key_of(PROGRAM)


DIFFERENT = {
    "the image": ("FROM b", f"FROM b@sha256:{'e' * 64}"),
    "a command": ("install $E", "install"),
    "blanks in a command": ("install $E", "install  $E"),
    "the form of a command": ("install $E", '["install", "$E"]'),
    "the shell": ("ENV E=1", 'SHELL ["/bin/bash", "-c"]\nENV E=1'),
    "the environment": ("ENV E=1", "ENV E=2"),
    "more environment": ("ENV E=1", "ENV E=1 F="),
    "an argument": ("ARG W=1", "ARG W=2"),
    "one argument more": ("ARG W=1", "ARG W=1 X=1"),
    "an argument of another stage": ("ARG V=1", "ARG V=2"),
    "the directory": ("WORKDIR /w", "WORKDIR /v"),
    "the user": ("ENV E=1", "ENV E=1\nUSER me"),
    "an owner": ("--chown=me", "--chown=you"),
    "a mode": ("--chmod=644", "--chmod=640"),
    "a source": ("a.txt b.txt", "b.txt"),
    "the order of sources": ("a.txt b.txt", "b.txt a.txt"),
    "a target": ("b.txt ./", "b.txt ./d/"),
    "ADD": ("COPY --chown", "ADD --chown"),
    "what a stage did": ("RUN build all", "RUN build some"),
    "what is copied of it": ("tools /out /out", "tools /out/x /out"),
    "whose it is": ("tools /out /out", "tools --chown=me /out /out"),
    "a mount's target": ("type=cache,target=/c", "type=cache,target=/d"),
    "a mount's id": ("type=secret,id=s", "type=secret,id=t,target=/run/secrets/s"),
    "a mount's mode": ("type=cache,target=/c", "type=cache,target=/c,mode=0700"),
    "a mount's owner": ("type=cache,target=/c", "type=cache,target=/c,uid=5"),
    "a mount's source": ("source=/out,target", "source=/out/x,target"),
    "a mount's stage": ("--mount=from=tools", "--mount=from=other-image"),
    "the network": ("--network=none", "--network=default"),
    "one step less": ("COPY --from=tools /out /out\n", ""),
    "the order of steps": ("ENV E=1\nWORKDIR /w\n", "WORKDIR /w\nENV E=1\nRUN x\n"),
}


@pytest.mark.parametrize(("old", "new"), DIFFERENT.values(), ids=DIFFERENT)
def test_what_does_matter(old: str, new: str) -> None:
    assert old in PROGRAM
    assert key_of(PROGRAM.replace(old, new)) != key_of(PROGRAM)


def test_the_changes_differ_from_each_other() -> None:
    found = {key_of(PROGRAM.replace(old, new)) for old, new in DIFFERENT.values()}
    assert len(found) == len(DIFFERENT)


def test_build_arguments_count_like_their_defaults() -> None:
    assert key_of(PROGRAM, W="2") == key_of(PROGRAM.replace("ARG W=1", "ARG W=2"))
    assert key_of(PROGRAM, W="1") == key_of(PROGRAM)
    assert key_of(PROGRAM, UNKNOWN="1") == key_of(PROGRAM)
    assert key_of(PROGRAM, HTTP_PROXY="http://p") == key_of(PROGRAM)


def test_a_declared_proxy_counts() -> None:
    text = PROGRAM.replace("ARG W=1", "ARG W=1\nARG HTTP_PROXY")
    assert key_of(text, HTTP_PROXY="one") != key_of(text, HTTP_PROXY="two")


def test_the_content_of_files_counts() -> None:
    one = Folder({"a.txt": "1", "b.txt": "2", "c": "3"})
    assert key_of(PROGRAM, one) != key_of(PROGRAM, Folder({**one.files, "a.txt": "0"}))
    assert key_of(PROGRAM, one) == key_of(PROGRAM, Folder({**one.files, "c": "0"}))


def test_what_comes_before_a_change_keeps_its_key() -> None:
    changed = PROGRAM.replace("--network=none install $E", "install")
    before, after = chain(planned(PROGRAM)), chain(planned(changed))
    assert before[0] == after[0]
    same = [old == new for old, new in zip(before[1], after[1], strict=True)]
    assert same == [True, True, True, False, False, False]


def test_the_configuration_of_a_base_counts_where_it_is_used() -> None:
    text = "FROM a\nRUN x\n"
    one = last_key(planned(text, image=Settings(env={"PATH": "/bin", "A": "1"})))
    two = last_key(planned(text, image=Settings(env={"PATH": "/bin", "A": "2"})))
    three = last_key(planned(text, image=Settings(env={"PATH": "/bin", "A": "1"}, labels={"l": "1"})))
    assert one != two
    assert one == three


# At random

Random = random.Random
Noise = Callable[[Random, list[str]], None]


def _put(line: str) -> Noise:
    return lambda chance, lines: lines.insert(chance.randrange(len(lines) + 1), line)


BEFORE: list[Noise] = [_put("# comment"), _put(""), _put("ARG EARLY=1"), _put("ARG A=early")]
INSIDE: list[Noise] = [
    _put("# comment"),
    _put(""),
    _put("LABEL l=1"),
    _put("CMD x"),
    _put("EXPOSE 80"),
    _put("ARG NOTHING"),
    lambda _, lines: lines.append("ARG LATE=1"),
    lambda _, lines: lines.append("ENV LATE=1"),
]


def instruction(chance: Random) -> str:
    value = f"{chance.choice('abc')}{chance.randrange(3)}"
    return chance.choice(
        [
            f"RUN {value}",
            f"RUN --mount=type=cache,target=/{value} --network=none {value}",
            f"ENV V{value}={value}",
            f"ENV V={value}",
            f"ARG A={value}",
            f"WORKDIR {value}",
            f"USER {value}",
            f"COPY --chown={value} {value[0]} /{value}",
            f"COPY --chmod=7{value[1]}5 {value[0]}.txt /{value}/".replace("c.txt", "c"),
            f"COPY <<{value} /{value}/\ntext {value}\n{value}",
        ]
    )


def text_of(before: Sequence[str], inside: Sequence[str]) -> str:
    return "\n".join((*before, "FROM a", *inside, ""))


@pytest.mark.parametrize("seed", range(60))
def test_noise_changes_no_key(seed: int) -> None:
    chance = Random(seed)
    before: list[str] = []
    inside = [instruction(chance) for _ in range(chance.randrange(1, 9))]
    expected = last_key(planned(text_of(before, inside)))
    for _ in range(6):
        chance.choice(BEFORE)(chance, before)
        chance.choice(INSIDE)(chance, inside)
    assert last_key(planned(text_of(before, inside))) == expected


def test_keys_are_equal_only_where_everything_before_is() -> None:
    """What a layer depends on, written out in another way than the keys do it."""
    chance = Random(7)
    known: dict[str, object] = {}
    for _ in range(400):
        plan = planned(text_of([], [instruction(chance) for _ in range(chance.randrange(1, 5))]))
        history: list[str] = []
        actions = [step.action for step in plan.stages[0].steps if step.action]
        for action, found in zip(actions, chain(plan)[0][1:], strict=True):
            history.append(_effect(action))
            assert known.setdefault(found, tuple(history)) == tuple(history)
    assert len(set(known.values())) == len(known) > 300


def _effect(action: Action) -> str:
    if isinstance(action, Run):
        return repr(replace(action, env=sorted({**action.args, **action.env}.items()), args={}))  # type: ignore[arg-type]
    return repr(action)
