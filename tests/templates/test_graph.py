import platform

import pytest

from berm.templates.graph import graph
from berm.templates.plan import Base
from berm.templates.stages import this_platform
from tests.templates.planning import ordered, read, wrong


def names(text: str, target: str = "", **build_args: str) -> list[str]:
    return [stage.name for stage in ordered(text, target, **build_args).stages]


THREE = """
    FROM debian AS tools
    RUN make
    FROM alpine AS docs
    FROM tools AS app
    COPY --from=docs /doc /doc
    FROM busybox AS test
    COPY --from=app / /
    """


@pytest.mark.parametrize(
    ("target", "kept"),
    [
        ("", ["tools", "docs", "app", "test"]),
        ("test", ["tools", "docs", "app", "test"]),
        ("APP", ["tools", "docs", "app"]),
        ("2", ["tools", "docs", "app"]),
        ("docs", ["docs"]),
        ("0", ["tools"]),
    ],
)
def test_a_target_takes_the_stages_that_it_needs(target: str, kept: list[str]) -> None:
    assert names(THREE, target) == kept


def test_what_is_left_out_is_told_with_the_reason() -> None:
    dropped = ordered(THREE, "app").dropped
    assert [(each.name, each.line) for each in dropped] == [("test", 6)]
    assert "app" in dropped[0].reason


def test_references_are_numbers_in_the_graph() -> None:
    found = ordered(THREE, "app")
    assert [stage.base for stage in found.stages] == [
        Base("image", "debian"),
        Base("image", "alpine"),
        Base("stage", "0"),
    ]
    assert found.stages[2].sources == {"docs": Base("stage", "1")}


def test_numbers_are_those_of_the_graph_where_stages_are_left_out() -> None:
    found = ordered("FROM a AS unused\nFROM b AS used\nFROM c\nCOPY --from=1 / /\n")
    assert found.stages[1].sources == {"1": Base("stage", "0")}


def test_a_stage_can_copy_from_a_later_one() -> None:
    text = "FROM a AS first\nCOPY --from=second / /\nFROM b AS second\nFROM first\n"
    assert names(text) == ["second", "first", "2"]


def test_stages_stay_as_they_stand_where_that_is_possible() -> None:
    text = "".join(f"FROM a AS s{number}\n" for number in range(12)) + "FROM b\n"
    text += "".join(f"COPY --from=s{number} / /{number}\n" for number in range(12))
    assert names(text) == [*(f"s{number}" for number in range(12)), "12"]


def test_images_are_listed_once_in_order_of_use() -> None:
    text = """
        ARG VERSION=3.19
        FROM alpine:${VERSION} AS one
        COPY --from=busybox:1 /bin/sh /sh
        FROM registry.example.com:5000/team/app@sha256:{0}
        RUN --mount=from=alpine:$VERSION,target=/x --mount=type=bind,target=/y,from=golang:1 true
        COPY --from=one / /
        """.replace("{0}", "a" * 64)
    assert ordered(text).images == (
        "alpine:3.19",
        "busybox:1",
        "registry.example.com:5000/team/app@sha256:" + "a" * 64,
        "golang:1",
    )


def test_images_of_stages_that_nothing_needs_are_not_asked_for() -> None:
    assert ordered("FROM gone AS unused\nFROM kept\n").images == ("kept",)


@pytest.mark.parametrize(
    ("before", "image", "build_args", "expected"),
    [
        ("ARG V=1", "a:$V", {}, "a:1"),
        ("ARG V=1", "a:$V", {"V": "2"}, "a:2"),
        ("ARG V", "a:${V:-3}", {}, "a:3"),
        ("ARG V", "a:$V", {"V": "4"}, "a:4"),
        ("ARG A=x B=$A-y", "i:$B", {}, "i:x-y"),
        ("ARG A=x\nARG B=${A}z", "i:$B", {}, "i:xz"),
        ("", "i:$TARGETARCH", {}, "i:amd64"),
        ("", "i:$TARGETARCH", {"TARGETARCH": "other"}, "i:other"),
    ],
)
def test_from_takes_the_arguments_before_it(
    before: str, image: str, build_args: dict[str, str], expected: str
) -> None:
    assert ordered(f"{before}\nFROM {image}\n", **build_args).images == (expected,)


@pytest.mark.parametrize(
    "flag", ["linux/amd64", "$BUILDPLATFORM", "$TARGETPLATFORM", "amd64", "linux/x86_64"]
)
def test_the_platform_of_this_machine_can_be_named(flag: str) -> None:
    assert names(f"FROM --platform={flag} debian\n") == ["0"]


def test_an_image_with_the_name_of_the_stage_is_the_image() -> None:
    assert ordered("FROM node AS node\n").stages[0].base == Base("image", "node")


def test_names_of_stages_know_no_case() -> None:
    assert ordered("FROM a AS Build\nFROM BUILD\n").stages[1].base == Base("stage", "0")


def test_a_stage_can_begin_with_one_by_number() -> None:
    assert ordered("FROM a\nFROM 0\n").stages[1].base == Base("stage", "0")


def test_scratch_is_nothing() -> None:
    found = ordered("FROM scratch\nCOPY a /\n")
    assert found.stages[0].base == Base("scratch")
    assert found.images == ()


def test_a_second_dockerfile_is_the_base_of_the_first() -> None:
    base = read("FROM debian AS tools\nFROM tools\nRUN make\n", "Dockerfile")
    main = read("FROM base\nCOPY . /code\n", "e2b.Dockerfile")
    found, problems = graph(main, {}, base=base)
    assert found is not None
    assert not problems
    assert [(stage.file, stage.base.kind) for stage in found.stages] == [
        ("Dockerfile", "image"),
        ("Dockerfile", "stage"),
        ("e2b.Dockerfile", "stage"),
    ]
    assert found.images == ("debian",)


def test_numbers_and_names_belong_to_their_own_file() -> None:
    base = read("FROM debian AS tools\nFROM tools\n", "Dockerfile")
    main = read(
        "FROM alpine AS tools\nFROM base\nCOPY --from=0 / /\nCOPY --from=tools / /t\n", "e2b.Dockerfile"
    )
    found, problems = graph(main, {}, base=base)
    assert found is not None
    assert not problems
    assert found.stages[-1].base == Base("stage", "1")
    assert set(found.stages[-1].sources.values()) == {Base("stage", "2")}


def test_a_target_is_not_looked_for_in_the_base() -> None:
    base = read("FROM debian AS tools\n", "Dockerfile")
    found, problems = graph(read("FROM base\n", "e2b.Dockerfile"), {}, "tools", base=base)
    assert found is None
    assert problems[0].file == "e2b.Dockerfile"


def test_without_a_base_an_image_is_called_base() -> None:
    assert ordered("FROM base\n").images == ("base",)


@pytest.mark.parametrize(
    ("text", "line", "message", "hint"),
    [
        ("FROM a AS x\nFROM b AS X\n", 2, "there is a stage 'x' already", "name of its own"),
        ("FROM a AS scratch\n", 1, "cannot be called scratch", "rename"),
        ("FROM a AS context\n", 1, "cannot be called context", "rename"),
        ("FROM a\nCOPY --from=3 / /\n", 2, "there is no stage 3", "from 0 to 0"),
        ("FROM 0\n", 1, "no stage 0 before this one", "from 0"),
        ("FROM $NAME\n", 1, "'' is not the name of an image", "NAME has no value here"),
        ("FROM node:$V\n", 1, "'node:' is not the name of an image", "V has no value here"),
        ("FROM a\nARG V=1\nFROM b:$V\n", 3, "'b:' is not", "before the first FROM"),
        ("FROM Debian\n", 1, "'Debian' is not the name", "lower case"),
        ("FROM Foo/bar\n", 1, "'Foo/bar' is not the name", "lower case"),
        ("FROM a:b:c\n", 1, "'a:b:c' is not the name", "name:tag"),
        ("FROM --platform=linux/arm64 a\n", 1, "'linux/arm64' cannot be built on linux/amd64", "leave"),
        ("FROM --platform=windows/amd64 a\n", 1, "'windows/amd64' cannot be built", "leave"),
        (
            "FROM a\nARG V=1\nCOPY --from=b:$V / /\n",
            3,
            "cannot use V, which belongs to a stage",
            "FROM image AS",
        ),
        ("FROM a\nRUN --mount=from=b:$V,target=/x y\n", 2, "cannot use V", "before the first FROM"),
        ("FROM a\nCOPY --from=B! / /\n", 2, "'B!' is not the name", "lower case"),
        ("FROM a AS x\nCOPY --from=x / /\n", 1, "the stage x copies from itself", "does not need"),
        ("FROM a\nCOPY --from=0 / /\n", 1, "the stage 0 copies from itself", "does not need"),
        ("FROM ${X:?missing}\n", 1, "X: missing", ""),
        ("ARG A=${X:?missing}\nFROM a\n", 1, "X: missing", ""),
    ],
)
def test_what_is_wrong_has_its_place(text: str, line: int, message: str, hint: str) -> None:
    problems = wrong(text)
    assert len(problems) == 1, problems
    assert (problems[0].line, problems[0].column) == (line, 1)
    assert message in problems[0].message
    assert hint in problems[0].hint


def test_a_circle_names_its_stages() -> None:
    text = "FROM a AS x\nCOPY --from=y / /\nFROM b AS y\nRUN --mount=from=z,target=/z z\nFROM x AS z\n"
    (problem,) = wrong(text)
    assert problem.line == 1
    ring = problem.message.removeprefix("the stages ").removesuffix(" need each other").split(" -> ")
    assert ring[0] == ring[-1]
    assert " ".join(ring) in "x y z x y z"


def test_a_circle_is_an_error_even_if_nothing_needs_it() -> None:
    assert wrong("FROM a AS x\nCOPY --from=y / /\nFROM x AS y\nFROM c\n")


@pytest.mark.parametrize(
    ("target", "hint"),
    [("tolos", "did you mean tools?"), ("zzz", "there are app, docs, test, tools"), ("4", "there are")],
)
def test_a_target_that_is_not_there(target: str, hint: str) -> None:
    problems = wrong(THREE, target=target)
    assert [(each.line, each.column) for each in problems] == [(1, 1)]
    assert target in problems[0].message
    assert hint in problems[0].hint


def test_every_problem_is_told_at_once() -> None:
    text = """
        ARG X=${
        FROM Bad AS one
        COPY --from=7 / /
        FROM --platform=linux/s390x a AS one
        RUN --network=host x
        COPY gone /
        """
    assert sorted((each.line, each.message.split()[0]) for each in wrong(text)) == [
        (1, "a"),
        (2, "'Bad'"),
        (3, "there"),
        (4, "the"),
        (4, "there"),
        (5, "RUN"),
        (6, "there"),
    ]


def test_a_graph_with_errors_is_not_sound() -> None:
    found, problems = graph(read("FROM a\nCOPY --from=9 / /\n"), {})
    assert found
    assert not found.sound
    assert len(problems) == 1


def test_a_file_without_stages_has_no_graph() -> None:
    assert wrong("ARG X=1\n")


def test_the_platform_is_that_of_the_machine_unless_it_is_said() -> None:
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    assert this_platform() == f"linux/{architecture}"
    found, _ = graph(read("FROM a:$TARGETARCH\n"), {}, platform="linux/arm64/v8")
    assert found
    assert found.images == ("a:arm64",)


def test_many_stages_are_no_problem() -> None:
    text = "FROM a AS s0\n" + "".join(f"FROM s{number} AS s{number + 1}\n" for number in range(1500))
    assert len(ordered(text).stages) == 1501
