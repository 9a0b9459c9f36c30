import pytest

from berm.errors import BermError, Code
from berm.templates.checks import check
from berm.templates.e2b import BuildStep, plan_of
from berm.templates.plan import (
    Account,
    Action,
    Base,
    Copy,
    Directory,
    Health,
    Plan,
    Run,
    Settings,
    Stage,
    Step,
)
from tests.templates.planning import DIGEST, PATH, chain

IMAGE = Base("image", "debian", DIGEST)
TEMPLATE = Base("template", "mine")
HASH = "a" * 64
Given = tuple[str, ...]
"""A step: its type and its args."""


def steps(*given: Given) -> list[BuildStep]:
    return [
        BuildStep(kind, args, HASH if kind == "COPY" else "")
        for kind, *args_ in given
        for args in [tuple(args_)]
    ]


def plan(*given: Given, base: Base = IMAGE, settings: Settings | None = None) -> Plan:
    found = plan_of(steps(*given), base, settings)
    check(found)
    return found


def actions(*given: Given, base: Base = IMAGE, settings: Settings | None = None) -> list[Action | None]:
    return [step.action for step in plan(*given, base=base, settings=settings).stages[0].steps]


def last(*given: Given) -> Action | None:
    return actions(*given)[-1]


def test_without_steps_it_is_the_base_with_the_user() -> None:
    found = plan(
        settings=Settings(
            env={"A": "1"},
            user="node",
            workdir="/app",
            onbuild=("RUN x",),
            cmd=("c",),
            health=Health(("curl", "localhost")),
        )
    )
    assert found.stages == (Stage("", IMAGE),)
    assert found.provision == "first"
    assert found.settings == Settings(env={"A": "1"}, user="user", workdir="/home/user", cmd=("c",))


def test_a_template_is_gone_on_with() -> None:
    begun = Settings(env={"A": "1"}, user="root", workdir="/code", start_cmd="serve")
    found = plan(("RUN", "x"), base=TEMPLATE, settings=begun)
    assert found.stages[0].steps[0].action == Run(("/bin/bash", "-l", "-c", "x"), "root", "/code", {"A": "1"})
    assert found.settings == begun


@pytest.mark.parametrize(("user", "home"), [("", "/home/user"), ("root", "/root"), ("me", "/home/me")])
def test_a_template_without_a_directory_begins_in_the_home(user: str, home: str) -> None:
    assert plan(base=TEMPLATE, settings=Settings(user=user)).settings.workdir == home


def test_steps_are_numbered_and_shown() -> None:
    found = plan(("RUN", "a\nb"), ("ENV", "A", "1"), ("COPY", "x", "y")).stages[0].steps
    assert [(step.name, step.text) for step in found] == [
        ("1", "RUN a b"),
        ("2", "ENV A=1"),
        ("3", "COPY x y"),
    ]


def test_secrets_are_not_shown() -> None:
    found = plan(("ENV", "API_TOKEN", "abc", "A", "b"), ("RUN", "curl ghp_" + "a" * 36)).stages[0].steps
    assert [step.text for step in found] == ["ENV API_TOKEN=*** A=b", "RUN curl ***"]


def test_a_step_can_be_forced() -> None:
    found = plan_of([BuildStep("RUN", ("a",)), BuildStep("RUN", ("b",), force=True)], IMAGE)
    assert [step.force for step in found.stages[0].steps] == [False, True]
    assert found.force is False


# RUN


@pytest.mark.parametrize(
    ("given", "run"),
    [
        ([("RUN", "x")], Run(("/bin/bash", "-l", "-c", "x"), "user", "/home/user")),
        ([("RUN", "x $HOME", "root")], Run(("/bin/bash", "-l", "-c", "x $HOME"), "root", "/home/user")),
        ([("RUN", "x", "")], Run(("/bin/bash", "-l", "-c", "x"), "user", "/home/user")),
        ([("USER", "me"), ("RUN", "x")], Run(("/bin/bash", "-l", "-c", "x"), "me", "/home/user")),
        (
            [("ENV", "A", "1"), ("WORKDIR", "w"), ("RUN", "x")],
            Run(("/bin/bash", "-l", "-c", "x"), "user", "/home/user/w", {"A": "1"}),
        ),
        (
            [("RUN", "x", "nobody-like-this")],
            Run(("/bin/bash", "-l", "-c", "x"), "nobody-like-this", "/home/user"),
        ),
    ],
)
def test_run(given: list[Given], run: Run) -> None:
    assert last(*given) == run


def test_another_user_of_a_run_is_only_of_that_one() -> None:
    found = actions(("RUN", "x", "root"), ("RUN", "y"))
    assert [action.user for action in found if isinstance(action, Run)] == ["root", "user"]


# ENV


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([("ENV", "A", "1", "B", "2")], {"A": "1", "B": "2"}),
        ([("ENV", "A", "1"), ("ENV", "A", "2")], {"A": "2"}),
        ([("ENV", "A", "1"), ("ENV", "B", "$A-${A}x$A_")], {"A": "1", "B": "1-1x"}),
        ([("ENV", "A", "1"), ("ENV", "A", "2", "B", "$A")], {"A": "2", "B": "1"}),
        ([("ENV", "A", "$NONE")], {"A": ""}),
        ([("ENV", "A", "${NONE:-x y}")], {"A": "x y"}),
        ([("ENV", "E", ""), ("ENV", "A", "${E:-x}${E-y}")], {"E": "", "A": "x"}),
        ([("ENV", "A", r"\$B \\ \n '$' $ 5$")], {"A": r"$B \ \n '$' $ 5$"}),
        ([("ENV", "A", "\"quoted\" 'B'")], {"A": "\"quoted\" 'B'"}),
        ([("ENV", "PATH", "/x:$PATH")], {"PATH": f"/x:{PATH}"}),
        ([("ENV", "A", "$HOME/$USER")], {"A": "/home/user/user"}),
        ([("USER", "root"), ("ENV", "A", "$HOME")], {"A": "/root"}),
        ([("ENV", "A", "", "B.c", "=")], {"A": "", "B.c": "="}),
    ],
)
def test_env(given: list[Given], expected: dict[str, str]) -> None:
    assert plan(*given).settings.env == expected


def test_the_environment_of_the_base_is_seen() -> None:
    found = plan(("ENV", "PATH", "/y:$PATH"), settings=Settings(env={"PATH": "/x"}))
    assert found.settings.env == {"PATH": "/y:/x"}


# WORKDIR and USER


@pytest.mark.parametrize(
    ("given", "directory"),
    [
        ([("WORKDIR", "/app")], Directory("/app", "user:user")),
        ([("WORKDIR", "app/")], Directory("/home/user/app", "user:user")),
        ([("WORKDIR", "..")], Directory("/home", "user:user")),
        ([("WORKDIR", "/a"), ("WORKDIR", "b")], Directory("/a/b", "user:user")),
        ([("USER", "root"), ("WORKDIR", "/")], Directory("/", "root:root")),
        ([("ENV", "D", "/d"), ("WORKDIR", "$D/x")], Directory("/d/x", "user:user")),
        ([("USER", "1000:50"), ("WORKDIR", "/x")], Directory("/x", "1000:50")),
    ],
)
def test_workdir(given: list[Given], directory: Directory) -> None:
    assert last(*given) == directory
    assert plan(*given).settings.workdir == directory.path


@pytest.mark.parametrize(
    ("user", "action"),
    [("me", Account("me")), ("me:staff", Account("me")), ("root", None), ("user", None), ("1000", None)],
)
def test_user(user: str, action: Action | None) -> None:
    assert last(("USER", user)) == action
    assert plan(("USER", user)).settings.user == user


# COPY


@pytest.mark.parametrize(
    ("source", "sources"),
    [
        ("a", "a"),
        ("./a", "a"),
        ("dir/", "dir"),
        (".", "."),
        ("*", "."),
        ("*.txt", "."),
        ("src/*.py", "src"),
        ("src/sub/*/x", "src/sub"),
        ("src/**/x.py", "src"),
        ("src/[ab].py", "src"),
        ("src/a?.py", "src"),
        ("src/{a,b}.py", "src"),
        ("src/{1..3}.py", "src"),
        ("src/@(a|b).py", "src"),
        ("src/{id}.py", "src/{id}.py"),
        ("a b/c", "a b/c"),
        ("/a", "a"),
        ("a/../b", "b"),
    ],
)
def test_a_pattern_was_applied_already(source: str, sources: str) -> None:
    found = last(("COPY", source, "/x"))
    assert isinstance(found, Copy)
    assert found.sources == (sources,)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/x", "/x"),
        ("/x/", "/x/"),
        ("x", "/home/user/x"),
        ("x/", "/home/user/x/"),
        (".", "/home/user/"),
        ("", "/home/user/"),
        ("..", "/home/"),
        ("/../../x", "/x"),
        ("$HOME/x", "/home/user/x"),
    ],
)
def test_a_target_is_relative_to_the_directory(target: str, expected: str) -> None:
    found = last(("COPY", "a", target))
    assert isinstance(found, Copy)
    assert found.target == expected


@pytest.mark.parametrize(
    ("given", "owner", "mode"),
    [
        ([("COPY", "a", "b")], "user:user", None),
        ([("COPY", "a", "b", "", "")], "user:user", None),
        ([("COPY", "a", "b", "me", "")], "me:me", None),
        ([("COPY", "a", "b", "me:staff", "0755")], "me:staff", 0o755),
        ([("COPY", "a", "b", "", "644")], "user:user", 0o644),
        ([("COPY", "a", "b", "", "0o644")], "user:user", 0o644),
        ([("USER", "root"), ("COPY", "a", "b")], "root:root", None),
    ],
)
def test_owner_and_mode(given: list[Given], owner: str, mode: int | None) -> None:
    found = last(*given)
    assert found == Copy(("a",), "/home/user/b", files_hash=HASH, owner=owner, mode=mode)


@pytest.mark.parametrize(
    ("step", "message", "hint"),
    [
        (BuildStep("NOPE"), "step 2 (NOPE): this type of step is not known", "COPY, ENV, RUN, USER, WORKDIR"),
        (BuildStep("WORKDR"), "step 2 (WORKDR)", "did you mean WORKDIR?"),
        (BuildStep("RUN"), "step 2 (RUN): args has 0 items", "command, user"),
        (BuildStep("RUN", ("a", "b", "c")), "args has 3 items", "command, user"),
        (BuildStep("RUN", (" ",)), "args[0], the command, is empty", "name"),
        (BuildStep("RUN", ("a", "b\n")), "args[1], the user, is 'b\\n'", "name"),
        (BuildStep("RUN", ("a\0",)), "NUL", "remove"),
        (BuildStep("ENV"), "args has 0 items", "name, value"),
        (BuildStep("ENV", ("A",)), "args has 1 items", "name, value"),
        (BuildStep("ENV", ("A=B", "1")), "the name 'A=B'", "'='"),
        (BuildStep("ENV", ("", "1")), "the name ''", "not empty"),
        (BuildStep("WORKDIR", ("",)), "the path, is empty", "directory"),
        (BuildStep("WORKDIR", ("$NONE",)), "the path, is empty", "directory"),
        (BuildStep("USER", ("",)), "the user, has ''", "name or number"),
        (BuildStep("USER", ("a b",)), "the user, has 'a b'", "user:group"),
        (BuildStep("USER", ("-x",)), "the user, is '-x'", "letters"),
        (BuildStep("USER", ("x" * 33,)), "the user, is", "letters"),
        (BuildStep("COPY", ("a",), HASH), "args has 1 items", "source, target"),
        (BuildStep("COPY", ("", "b"), HASH), "the source, is empty", "file"),
        (BuildStep("COPY", ("a", "b")), "filesHash is ''", "SHA-256"),
        (BuildStep("COPY", ("a", "b"), "../x"), "filesHash is '../x'", "SHA-256"),
        (BuildStep("COPY", ("../a", "b"), HASH), "'../a' leads out", "context"),
        (BuildStep("COPY", ("a", "b", "a:b:c"), HASH), "args[2], the owner, has 'a:b:c'", "user:group"),
        (BuildStep("COPY", ("a", "b", "", "u+x"), HASH), "args[3], the mode, has 'u+x'", "0755"),
        (BuildStep("COPY", ("a", "b", "", "8"), HASH), "args[3], the mode, has '8'", "0755"),
    ],
)
def test_what_is_wrong_names_the_step(step: BuildStep, message: str, hint: str) -> None:
    with pytest.raises(BermError) as error:
        plan_of([BuildStep("RUN", ("x",)), step], IMAGE)
    assert error.value.code is Code.INVALID_ARGUMENT
    assert error.value.message.startswith("step 2 (")
    assert message in error.value.message
    assert hint in error.value.hint


def test_keys_depend_on_the_steps_and_on_their_files() -> None:
    given: list[Given] = [("ENV", "A", "1"), ("COPY", "a", "b"), ("RUN", "x")]
    whole = chain(plan(*given))[0]
    assert chain(plan(*given))[0] == whole
    other = plan_of(
        [
            replaced if step.type == "COPY" else step
            for step in steps(*given)
            for replaced in [BuildStep("COPY", step.args, "b" * 64)]
        ],
        IMAGE,
    )
    changed = chain(other)[0]
    assert changed[0] == whole[0]
    assert changed[1:] != whole[1:]
    assert changed[2] != whole[2]


def test_a_step_is_a_step_of_a_plan() -> None:
    assert plan(("USER", "me")).stages[0].steps == (Step("USER me", name="1", action=Account("me")),)
