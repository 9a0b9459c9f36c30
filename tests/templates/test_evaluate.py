from pathlib import Path

import pytest

from berm.templates.base import ResolvedImage
from berm.templates.context import Context
from berm.templates.evaluate import downloads, evaluate
from berm.templates.graph import graph
from berm.templates.inputs import Download
from berm.templates.plan import Base, Copy, Directory, Run, Settings, Stage
from berm.templates.problems import Problem, Severity
from tests.templates.planning import (
    ANY,
    DIGEST,
    PATH,
    actions,
    copied,
    ordered,
    planned,
    read,
    resolved,
    runs,
    wrong,
)

EXAMPLE = """
    # syntax=docker/dockerfile:1
    ARG NODE=20
    FROM node:${NODE}-alpine AS build
    ARG MODE=production
    WORKDIR /src
    COPY a.txt ./
    RUN --mount=type=cache,target=/root/.npm \\
        npm ci
    ENV MODE=$MODE

    FROM build AS test
    RUN npm test

    FROM debian:12
    COPY --from=build --chown=1000 /src/dist /code/
    USER 1000
    CMD ["node", "."]
    """


def test_a_whole_dockerfile() -> None:
    plan = planned(EXAMPLE, {"NODE": "22", "MODE": "debug"})
    build, last = plan.stages
    assert (build.name, build.base, build.line) == (
        "build",
        Base("image", "node:22-alpine", DIGEST),
        3,
    )
    assert actions(plan, 0)[:2] == [
        Directory("/src"),
        Copy(("a.txt",), "/src/", files_hash=ANY.select(["a.txt"]).digest),
    ]
    assert runs(plan, 0)[0].args == {"MODE": "debug"}
    assert (last.name, last.line) == ("2", 14)
    assert actions(plan) == [Copy(("src/dist",), "/code/", base=Base("stage", "0"), owner="1000")]
    assert plan.settings == Settings(env={"PATH": PATH}, user="1000", cmd=("node", "."))
    assert plan.provision == "last"


def test_steps_are_counted_over_all_stages() -> None:
    plan = planned(EXAMPLE)
    names = [step.name for stage in plan.stages for step in stage.steps]
    assert names == [str(number) for number in range(1, len(names) + 1)]
    assert [step.line for step in plan.stages[0].steps] == [4, 5, 6, 7, 9]
    assert plan.stages[0].steps[3].text == "RUN --mount=type=cache,target=/root/.npm npm ci"


def test_a_target_is_built_on_its_own() -> None:
    plan = planned(EXAMPLE, target="test")
    assert [stage.name for stage in plan.stages] == ["build", "test"]
    assert plan.settings.env["MODE"] == "production"
    assert plan.settings.workdir == "/src"


def test_a_stage_begins_with_what_another_left() -> None:
    plan = planned("FROM a AS one\nENV A=1\nUSER me\nWORKDIR /w\nARG X=2\nFROM one\nRUN x\n")
    assert runs(plan) == [
        Run(("/bin/sh", "-c", "x"), "me", "/w", {"PATH": PATH, "A": "1"}, {"X": "2"}),
    ]
    assert plan.stages[1].base == Base("stage", "0")


def test_the_files_of_a_real_context(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "main.py").write_text("print()")
    (tmp_path / "secret").write_text("x")
    (tmp_path / ".dockerignore").write_text("secret\n")
    found = ordered("FROM a\nCOPY app /app\nRUN --mount=source=app,target=/in x\n")
    plan, problems = evaluate(found, resolved(found), Context(tmp_path))
    assert plan
    assert not problems
    assert copied(plan)[0].files_hash == runs(plan)[0].mounts[0].files_hash
    (tmp_path / "app" / "main.py").write_text("print(1)")
    again, _ = evaluate(found, resolved(found), Context(tmp_path))
    assert again
    assert copied(again)[0].files_hash != copied(plan)[0].files_hash

    ignored = ordered("FROM a\nCOPY secret /app\nCOPY gone /app\n")
    plan, problems = evaluate(ignored, resolved(ignored), Context(tmp_path))
    assert plan is None
    assert [problem.message for problem in problems] == [
        "'secret' is left out of the build context",
        "there is no 'gone' in the build context",
    ]


# Images


def test_an_image_that_is_not_known_has_no_digest() -> None:
    plan, problems = evaluate(ordered("FROM a\nCOPY --from=b /x /x\n"), {}, ANY)
    assert plan
    assert not problems
    assert plan.stages[0].base == Base("image", "a")
    assert copied(plan)[0].base == Base("image", "b")


def test_a_digest_that_is_written_needs_no_registry() -> None:
    plan, _ = evaluate(ordered(f"FROM a@{DIGEST}\n"), {}, ANY)
    assert plan
    assert plan.stages[0].base == Base("image", f"a@{DIGEST}", DIGEST)


@pytest.mark.parametrize("name", ["e2bdev/base", "e2bdev/base:latest", "docker.io/e2bdev/base"])
def test_the_image_of_e2b_is_our_template_unless_it_is_resolved(name: str) -> None:
    found = ordered(f"FROM {name}\n")
    unknown, _ = evaluate(found, {}, ANY)
    assert unknown
    assert unknown.stages[0].base == Base("template", "base")
    known, _ = evaluate(found, {name: ResolvedImage(name, DIGEST, Settings())}, ANY)
    assert known
    assert known.stages[0].base == Base("image", name, DIGEST)


def test_scratch_has_no_image() -> None:
    assert planned("FROM scratch\nCOPY a /\n").stages[0].base == Base("scratch")


def test_two_dockerfiles_make_one_plan() -> None:
    base = read("FROM debian\nARG X=1\nENV A=$X\nRUN base\n", "Dockerfile")
    main = read("FROM base\nRUN main\nRUN --network=host x\n", "e2b.Dockerfile")
    found, _ = graph(main, {"X": "2"}, base=base)
    assert found
    plan, problems = evaluate(found, resolved(found), ANY)
    assert plan is None
    assert [(problem.file, problem.line) for problem in problems] == [("e2b.Dockerfile", 3)]

    found, _ = graph(read("FROM base\nRUN main\n", "e2b.Dockerfile"), {"X": "2"}, base=base)
    assert found
    plan, problems = evaluate(found, resolved(found), ANY)
    assert plan
    assert not problems
    assert runs(plan)[0].env["A"] == "2"


# Triggers


def test_triggers_of_the_base_run_first() -> None:
    image = Settings(env={"A": "1"}, onbuild=("ENV B=$A", "WORKDIR /t", "COPY a .", "RUN x"))
    plan = planned("FROM a\nRUN y\n", image=image)
    assert actions(plan) == [
        Directory("/t"),
        Copy(("a",), "/t/", files_hash=ANY.select(["a"]).digest),
        Run(("/bin/sh", "-c", "x"), workdir="/t", env={"PATH": PATH, "A": "1", "B": "1"}),
        Run(("/bin/sh", "-c", "y"), workdir="/t", env={"PATH": PATH, "A": "1", "B": "1"}),
    ]
    assert [(step.text, step.line) for step in plan.stages[0].steps][-2:] == [
        ("ONBUILD RUN x", 1),
        ("RUN y", 2),
    ]
    assert plan.settings.onbuild == ()


def test_triggers_of_a_stage_run_in_the_next() -> None:
    plan = planned("FROM a AS one\nONBUILD RUN x\nRUN y\nFROM one AS two\nFROM two\nRUN z\n")
    assert [[run.argv[-1] for run in runs(plan, number)] for number in range(3)] == [["y"], ["x"], ["z"]]


def test_a_trigger_sees_the_arguments_of_the_build() -> None:
    found = ordered("FROM a\n", X="2")
    plan, problems = evaluate(found, resolved(found, Settings(onbuild=("ARG X=1", "RUN x"))), ANY)
    assert plan
    assert not problems
    assert runs(plan)[0].args == {"X": "2"}


def test_a_trigger_is_escaped_by_a_backslash_in_any_file() -> None:
    plan = planned("# escape=`\nFROM a\nRUN c `\n  d\n", image=Settings(onbuild=("RUN a \\\n  b",)))
    assert [run.argv[-1] for run in runs(plan)] == ["a   b", "c   d"]


def test_a_trigger_with_a_heredoc() -> None:
    plan = planned("FROM a AS one\nONBUILD COPY <<E /x\nhello\nE\nFROM one\n")
    assert copied(plan)[0].inline[0].content == "hello\n"


@pytest.mark.parametrize(
    ("trigger", "message"),
    [
        ("COPY --from=build /x /x", "from=build is not supported in ONBUILD"),
        ("RUN --mount=from=build,target=/x y", "from=build is not supported in ONBUILD"),
        ("COPY gone /x", "there is no 'gone'"),
        ("NONSENSE x", "ONBUILD of the base"),
        ("RUN --network=host x", "RUN --network=host is not supported"),
    ],
)
def test_what_is_wrong_with_a_trigger_is_told_at_from(trigger: str, message: str) -> None:
    (problem,) = wrong("ARG X\nFROM a\nRUN x\n", image=Settings(onbuild=(trigger,)))
    assert (problem.line, problem.column) == (2, 1)
    assert message in problem.message


# Downloads


def test_what_is_to_be_downloaded() -> None:
    text = f"""
        FROM a AS unused
        ADD https://example.com/never /x
        FROM a AS one
        ARG V=1
        ADD --checksum=sha256:{"A" * 64} https://example.com/$V.tgz /x/
        ADD https://example.com/ gone /y/
        FROM one
        ADD https://example.com/two https://example.com/1.tgz /x/
        """
    found = ordered(text, V="2")
    assert downloads(found, resolved(found)) == (
        Download("https://example.com/2.tgz", "2.tgz", "sha256:" + "a" * 64),
        Download("https://example.com/two", "two"),
        Download("https://example.com/1.tgz", "1.tgz"),
    )


# Arguments


@pytest.mark.parametrize(
    ("text", "name", "used"),
    [
        ("FROM a\n", "X", False),
        ("ARG X\nFROM a\n", "X", True),
        ("FROM a\nARG X\n", "X", True),
        ("FROM a AS unused\nARG X\nFROM b\n", "X", True),
        ("FROM a\nENV X=1\n", "X", False),
        ("FROM a\n", "HTTP_PROXY", True),
        ("FROM a\n", "no_proxy", True),
        ("FROM a\n", "BUILDKIT_INLINE_CACHE", True),
        ("FROM a\n", "SOURCE_DATE_EPOCH", True),
        ("FROM a\n", "TARGETARCH", True),
    ],
)
def test_an_argument_that_nothing_uses(text: str, name: str, used: bool) -> None:
    found = ordered(text, **{name: "1"})
    plan, problems = evaluate(found, resolved(found), ANY)
    assert plan
    hint = f"declare it with ARG {name}, or do not give it"
    problem = Problem("Dockerfile", 1, 1, f"the build argument {name} is not used", hint, Severity.WARNING)
    assert problems == (() if used else (problem,))


def test_link_is_said_to_have_no_effect() -> None:
    found = ordered("FROM a\nCOPY --link a /x\nCOPY --link=false a /y\n")
    plan, problems = evaluate(found, resolved(found), ANY)
    assert plan
    assert [(each.line, each.message, each.severity) for each in problems] == [
        (2, "COPY --link has no effect here", Severity.WARNING)
    ]


# Text


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("RUN a \\\n   && b", "RUN a && b"),
        ("run a", "run a"),
        ("RUN <<EOF\na\nb\nEOF", "RUN <<EOF (2 lines)"),
        ("ENV A=$B  C=d", "ENV A=$B C=d"),
        ("ENV API_TOKEN=abc A=b", "ENV API_TOKEN=*** A=b"),
        ("ARG PASSWORD=abc", "ARG PASSWORD=***"),
        ("ARG PASSWORD", "ARG PASSWORD"),
        ("LABEL secret=abc", "LABEL secret=***"),
        ("ONBUILD ENV SECRET=abc", "ONBUILD ENV SECRET=***"),
        ("RUN curl -u ghp_" + "a" * 36 + " x", "RUN curl -u *** x"),
        ("RUN git clone https://me:pass@example.com/x", "RUN git clone https://example.com/x"),
        ("RUN " + "x" * 500, "RUN " + "x" * 396 + "..."),
    ],
)
def test_a_step_is_shown_on_one_line_without_secrets(body: str, text: str) -> None:
    assert planned(f"FROM a\n{body}\n").stages[0].steps[0].text == text


def test_a_build_argument_is_in_no_text() -> None:
    plan = planned("FROM a\nARG X\nENV Y=$X\nRUN echo $X\n", {"X": "value"})
    assert all("value" not in step.text for step in plan.stages[0].steps)


def test_a_stage_without_instructions_is_its_base() -> None:
    assert planned("FROM a\n").stages == (Stage("0", Base("image", "a", DIGEST), line=1),)
