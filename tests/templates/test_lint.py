import re
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pytest

from berm.templates.advice import RULES
from berm.templates.context import Context
from berm.templates.definition import Definition
from berm.templates.evaluate import evaluate
from berm.templates.graph import graph
from berm.templates.lint import warnings
from berm.templates.plan import Health, Settings
from berm.templates.problems import Problem, Severity
from tests.templates.planning import DIGEST, Folder, ordered, read, resolved

ROOT = Path(__file__).parents[2]
GOOD = f"""
    FROM debian:12@{DIGEST}
    USER me
    HEALTHCHECK CMD true
    """
FOUND = Folder(dict.fromkeys(("a", "b", ".env", "keys/id_rsa", ".npmrc", "x.tar.gz", "app.key"), ""))


def advice(
    text: str,
    definition: Definition | None = None,
    *,
    image: Settings | None = None,
    locked: Collection[str] = (),
    npmrc: bytes | None = None,
    listed: bool = True,
) -> tuple[Problem, ...]:
    found = ordered(text)
    fetched = {"https://example.com/f": "a" * 64}
    plan, _ = evaluate(found, resolved(found, image), FOUND, fetched)
    assert plan
    return warnings(
        read(text),
        found,
        plan,
        definition,
        files=FOUND if listed else None,
        locked=locked,
        read=None if npmrc is None else lambda _: npmrc,
    )


def rules(problems: Collection[Problem]) -> list[tuple[str, int]]:
    return sorted((problem.message.partition(":")[0], problem.line) for problem in problems)


def about(body: str, **more: bytes) -> list[tuple[str, int]]:
    """The rules that a body offends, with lines counted from its first; the rest of the file offends none."""
    text = f"FROM debian:12@{DIGEST}\nHEALTHCHECK CMD true\n{body}\nUSER me\n"
    return [(rule, line - 2) for rule, line in rules(advice(text, **more))]  # type: ignore[arg-type]


def test_a_good_dockerfile_needs_no_advice() -> None:
    assert advice(GOOD) == ()


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("", 0),
        ("USER root", 3),
        ("USER root:root", 3),
        ("USER 0", 3),
        ("USER 0:0", 3),
        ("USER me\nRUN x\nUSER root", 5),
        ("USER root\nRUN x\nUSER me", 0),
        ("USER me", 0),
        ("USER 1000", 0),
    ],
)
def test_root(body: str, line: int) -> None:
    found = advice(f"FROM debian:12@{DIGEST}\nHEALTHCHECK CMD x\n{body}\n")
    assert rules(found) == ([("RootUser", line)] if line else [])


@pytest.mark.parametrize(("user", "expected"), [("node", []), ("", []), ("root", [("RootUser", 1)])])
def test_the_user_of_the_base_counts(user: str, expected: list[tuple[str, int]]) -> None:
    text = f"FROM debian:12@{DIGEST}\nHEALTHCHECK CMD x\n"
    assert rules(advice(text, image=Settings(user=user))) == expected


def test_a_health_check_can_be_missing() -> None:
    text = f"FROM debian:12@{DIGEST}\nUSER me\n"
    here = Path()
    definition = Definition(here, here, here)
    assert rules(advice(text)) == [("NoHealthCheck", 1)]
    assert rules(advice(text, definition)) == [("NoHealthCheck", 1)]
    assert advice(text, replace(definition, health=Health(("x",)))) == ()
    assert advice(text, replace(definition, ready_cmd="true")) == ()
    assert advice(text + "HEALTHCHECK NONE\n") == ()
    assert advice(text + "HEALTHCHECK CMD x\n") == ()
    assert advice(text, image=Settings(health=Health(("x",)))) == ()
    assert advice(f"FROM a@{DIGEST} AS b\nHEALTHCHECK NONE\nFROM b\nUSER me\n") == ()


@pytest.mark.parametrize(
    ("image", "locked", "expected"),
    [
        ("debian", [], ["LatestTag", "UnpinnedBase"]),
        ("debian:latest", [], ["LatestTag", "UnpinnedBase"]),
        ("debian:12", [], ["UnpinnedBase"]),
        ("registry:5000/debian", [], ["LatestTag", "UnpinnedBase"]),
        ("debian:12", ["debian:12"], []),
        ("debian", ["debian"], []),
        (f"debian@{DIGEST}", [], []),
        ("e2bdev/base", [], []),
        ("scratch", [], []),
    ],
)
def test_a_base_should_stay_what_it_is(image: str, locked: list[str], expected: list[str]) -> None:
    found = advice(f"FROM {image}\nHEALTHCHECK CMD x\nUSER me\n", locked=locked)
    assert rules(found) == [(rule, 1) for rule in expected]


def test_each_image_is_named_once_where_it_is_used_first() -> None:
    text = """
        FROM a:1 AS one
        HEALTHCHECK CMD x
        FROM one
        COPY --from=b:1 /x /x
        COPY --from=a:1 /x /x
        RUN --mount=from=c:1,target=/x x
        FROM unused:1 AS unused
        FROM one
        COPY --from=1 /x /x
        USER me
        """
    assert rules(advice(text)) == [("UnpinnedBase", 1), ("UnpinnedBase", 4), ("UnpinnedBase", 6)]


@pytest.mark.parametrize(
    "pair",
    [
        "ENV API_TOKEN=abcdef",
        "ENV DB_PASSWORD=hunter2",
        "ENV password abc",
        "ENV dbPassword=abc",
        "ENV SECRET_KEY_BASE=abc",
        "ENV AWS_SECRET_ACCESS_KEY=abc",
        "ENV STRIPE_KEY=abc",
        "ENV A=ghp_" + "a" * 36,
        "ENV A=AKIA" + "A" * 16,
        "ENV A=e2b_" + "0" * 40,
        "ENV TOKEN=$X",
        "ARG NPM_TOKEN",
        "ARG NPM_TOKEN=",
        "ARG NPM_TOKEN=abc",
        "LABEL my.secret=abc",
    ],
)
def test_a_secret_in_a_variable(pair: str) -> None:
    assert about(pair) == [("SecretsUsedInArgOrEnv", 1)]


@pytest.mark.parametrize(
    "pair",
    [
        "ENV GPG_KEY=E3FF2839C048B25C084DEBE9B26995E310250568",
        "ENV PUBLIC_KEY=abc",
        "ENV TOKEN_FILE=/run/secrets/token",
        "ENV PASSWORD_FILE=/x",
        "ENV API_TOKEN=",
        "ENV API_TOKEN=/run/secrets/x",
        "ENV USE_TOKEN=true",
        "ENV KEYBOARD=us MONKEY=1 TOKENIZER=fast AUTHOR=me",
        "ENV SECRET_NAME=abc",
        "ARG KEY_ID=abc",
        "ARG CACHE_KEY=1",
        "ENV NODE_VERSION=20.1.0",
    ],
)
def test_what_is_no_secret(pair: str) -> None:
    assert about(pair) == []


def test_a_secret_before_the_first_from() -> None:
    text = f"ARG NPM_TOKEN\nFROM debian:12@{DIGEST}\nHEALTHCHECK CMD x\nUSER me\n"
    assert rules(advice(text)) == [("SecretsUsedInArgOrEnv", 1)]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("RUN curl -H 'Authorization: ghp_" + "a" * 36 + "' x", 1),
        ("RUN <<EOF\ntoken=glpat-" + "a" * 20 + "\nEOF", 1),
        ("COPY <<EOF /k\n-----BEGIN RSA PRIVATE KEY-----\nEOF", 1),
        ('CMD ["x", "AKIA' + "A" * 16 + '"]', 1),
        ("RUN --mount=type=secret,id=token x", 0),
        ("RUN echo token", 0),
    ],
)
def test_a_token_in_a_command(body: str, expected: int) -> None:
    assert about(body) == [("SecretInInstruction", 1)] * expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("COPY .env /x", ["'.env'"]),
        ("COPY keys /x", ["'keys/id_rsa'"]),
        ("COPY *.key /x/", ["'app.key'"]),
        ("COPY . /x", ["'.env'", "'app.key'", "'keys/id_rsa'"]),
        ("COPY a b /x/", []),
        ("COPY .npmrc /x", []),
    ],
)
def test_a_secret_in_a_file(body: str, expected: list[str]) -> None:
    problems = advice(f"FROM debian:12@{DIGEST}\nHEALTHCHECK CMD x\nUSER me\n{body}\n")
    assert rules(problems) == ([("SecretFileCopied", 4)] if expected else [])
    assert [name for name in expected if name in problems[0].message] == expected


def test_names_are_enough_without_a_context() -> None:
    text = f"FROM a@{DIGEST}\nHEALTHCHECK CMD x\nUSER me\nCOPY .env a /x/\nCOPY . /y\n"
    assert rules(advice(text, listed=False)) == [("SecretFileCopied", 4)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"//registry/:_authToken=abc\n", 1),
        (b"registry=x\n_password = abc\n", 1),
        (b"//registry/:_authToken=${TOKEN}\n", 0),
        (b"# _authToken=abc\n", 0),
        (b"registry=https://example.com\n", 0),
    ],
)
def test_npm_s_settings_count_by_their_content(content: bytes, expected: int) -> None:
    assert about("COPY .npmrc /x", npmrc=content) == [("SecretFileCopied", 1)] * expected


def test_many_secret_files_are_named_in_part(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.key").touch()
    (tmp_path / "sample.key").touch()
    found = ordered("FROM a\nCOPY . /x\n")
    context = Context(tmp_path)
    plan, _ = evaluate(found, resolved(found), context)
    assert plan
    (message,) = [
        problem.message
        for problem in warnings(read("FROM a\nCOPY . /x\n"), found, plan, files=context)
        if "SecretFileCopied" in problem.message
    ]
    assert "'0.key', '1.key', '2.key' and 2 more" in message


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("ADD https://example.com/f /x", ["AddUrl"]),
        ("ADD --checksum=sha256:" + "a" * 64 + " https://example.com/f /x", []),
        ("ADD a /x", ["AddInsteadOfCopy"]),
        ("ADD a b /x/", ["AddInsteadOfCopy"]),
        ("ADD x.tar.gz /x", []),
        ("ADD --unpack=true a /x", []),
        ("ADD <<EOF /x\na\nEOF", []),
        ("ADD * /x/", ["SecretFileCopied"]),
        ("COPY a /x", []),
    ],
)
def test_add(body: str, expected: list[str]) -> None:
    assert about(body) == [(rule, 1) for rule in expected]


CLEAN = "rm -rf /var/lib/apt/lists/*"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (f"RUN apt-get update && apt-get install -y git && {CLEAN}", []),
        (f"RUN apt-get update && \\\n  apt-get install -y \\\n  git && {CLEAN}", []),
        (f"RUN apt update && apt install -y git && {CLEAN}", []),
        (f"RUN <<EOF\napt-get update\napt-get install -y git\n{CLEAN}\nEOF", []),
        ("RUN apt-get update && apt-get install -y git && apt-get dist-clean", []),
        ("RUN apt-get install -y git", ["AptUpdate"]),
        ("RUN apt-get -y install git", ["AptUpdate"]),
        ("RUN apt-get install -y ./x.deb /y.deb", []),
        ("RUN apt-get update && apt-get install -y git", ["AptCleanup"]),
        ("RUN apt-get update", ["AptCleanup"]),
        ("RUN --mount=type=cache,target=/var/lib/apt apt-get update && apt-get install git", []),
        ('RUN ["apt-get", "install", "git"]', ["AptUpdate"]),
        ("RUN echo install", []),
        ("RUN cd /x", ["CdWithoutEffect"]),
        ("RUN cd /x && make", []),
        ("RUN (cd /x; make)", []),
        ("MAINTAINER me", ["MaintainerDeprecated"]),
    ],
)
def test_commands(body: str, expected: list[str]) -> None:
    assert about(body) == [(rule, 1) for rule in expected]


def test_lists_of_a_stage_that_is_left_behind_do_not_matter() -> None:
    text = f"FROM a@{DIGEST} AS b\nRUN apt-get update\nFROM c@{DIGEST}\nCOPY --from=b /x /x\n"
    assert advice(text + "HEALTHCHECK CMD x\nUSER me\n") == ()
    text = f"FROM a@{DIGEST} AS b\nRUN apt-get update\nFROM b\n"
    assert rules(advice(text + "HEALTHCHECK CMD x\nUSER me\n")) == [("AptCleanup", 2)]


# Wishes


@pytest.mark.parametrize(
    ("directive", "expected"),
    [
        ("", ["LatestTag", "NoHealthCheck", "RootUser", "UnpinnedBase"]),
        ("# check=skip=RootUser,latesttag", ["NoHealthCheck", "UnpinnedBase"]),
        ("# check=skip=RootUser, LatestTag;error=true", ["NoHealthCheck", "UnpinnedBase"]),
        ("# check=skip=all", []),
        ("# check=error=true", ["LatestTag", "NoHealthCheck", "RootUser", "UnpinnedBase"]),
    ],
)
def test_rules_can_be_left_out(directive: str, expected: list[str]) -> None:
    problems = advice(f"{directive}\nFROM debian\nUSER root\n")
    assert [rule for rule, _ in rules(problems)] == expected
    severity = Severity.ERROR if "error=true" in directive else Severity.WARNING
    assert {problem.severity for problem in problems} == ({severity} if expected else set())


def test_problems_have_their_place_and_a_hint() -> None:
    for problem in advice("\n\nFROM debian\n  ENV TOKEN=x\n"):
        assert problem.file == "Dockerfile"
        assert (problem.line, problem.column) in ((1, 1), (2, 3))
        assert problem.hint
        assert problem.message.partition(":")[0] in RULES


def test_every_rule_is_in_the_documentation() -> None:
    table = (ROOT / "docs" / "templates.md").read_text().partition("## Advice")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \| .+ \|$", table, re.MULTILINE) == list(RULES)


def test_the_file_that_is_extended_is_looked_at_too() -> None:
    base = read("FROM debian:12\nENV TOKEN=x\n", "Dockerfile")
    main = read("FROM base\nUSER me\nHEALTHCHECK CMD x\n", "e2b.Dockerfile")
    found, _ = graph(main, {}, base=base)
    assert found
    plan, _ = evaluate(found, resolved(found), FOUND)
    assert plan
    problems = warnings(main, found, plan)
    assert [(problem.file, *rules([problem])[0]) for problem in problems] == [
        ("Dockerfile", "UnpinnedBase", 1),
        ("Dockerfile", "SecretsUsedInArgOrEnv", 2),
    ]
