import os
import re
from pathlib import Path

import pytest

from berm.errors import BermError, Code
from berm.templates import definition
from berm.templates.context import Context
from berm.templates.definition import Definition
from berm.templates.fields import READERS
from berm.templates.plan import Health
from berm.templates.problems import DefinitionError, Problem

ROOT = Path(__file__).parents[2]

TEAMS = b"""
name = "web"
dockerfile = "e2b.Dockerfile"
template_id = "1wdqsf9le9gk21ztb4mo"
[build]
context = "."
dockerfile = "Dockerfile"
"""

E2BS = b"""
# This is a config for E2B sandbox template.
team_id = "460355b3-4f64-48f9-9a16-4442817f79f5"
memory_mb = 1_024
cpu_count = 4
start_cmd = "/root/.jupyter/start-up.sh"
ready_cmd = "curl --fail localhost:8888"
dockerfile = "e2b.Dockerfile"
template_name = "code-interpreter-v1"
template_id = "nlhz8vlwyupq845jsdg9"
"""

OURS = b"""
name = "team/web"
disk_mb = 2048
timeout = "15m"
tags = ["v1.2.3", "stable", "stable"]

[build]
context = ".."
dockerfile = 'docker/Dockerfile'
target = "final"
network = false

[build.args]
VERSION = "1.2"
JOBS = 4
DEBUG = true

[healthcheck]
command = "curl --fail localhost"
interval = "1m30s"
timeout = 5
start_period = 0.5
start_interval = "500ms"
retries = 5
"""


def parsed(text: bytes | str) -> Definition:
    found, problems = definition.parse(text.encode() if isinstance(text, str) else text, "e2b/e2b.toml")
    assert problems == ()
    assert found is not None
    return found


def problems_of(text: str) -> list[tuple[int, int, str, str]]:
    _, problems = definition.parse(text.encode(), "e2b.toml")
    assert {problem.file for problem in problems} <= {"e2b.toml"}
    return [(problem.line, problem.column, problem.message, problem.hint) for problem in problems]


def test_the_file_that_a_team_keeps() -> None:
    assert parsed(TEAMS) == Definition(
        file=Path("e2b/e2b.toml"),
        name="web",
        template_id="1wdqsf9le9gk21ztb4mo",
        dockerfile=Path("e2b/e2b.Dockerfile"),
        base=Path("e2b/Dockerfile"),
        context=Path("e2b"),
    )


def test_the_file_that_e2b_writes() -> None:
    assert parsed(E2BS) == Definition(
        file=Path("e2b/e2b.toml"),
        name="code-interpreter-v1",
        template_id="nlhz8vlwyupq845jsdg9",
        team_id="460355b3-4f64-48f9-9a16-4442817f79f5",
        dockerfile=Path("e2b/e2b.Dockerfile"),
        context=Path("e2b"),
        cpu_count=4,
        memory_mb=1024,
        start_cmd="/root/.jupyter/start-up.sh",
        ready_cmd="curl --fail localhost:8888",
    )


def test_every_key_of_ours() -> None:
    assert parsed(OURS) == Definition(
        file=Path("e2b/e2b.toml"),
        name="team/web",
        dockerfile=Path("e2b/docker/Dockerfile"),
        context=Path("e2b/.."),
        args={"VERSION": "1.2", "JOBS": "4", "DEBUG": "true"},
        target="final",
        tags=("v1.2.3", "stable"),
        disk_mb=2048,
        timeout=900.0,
        network=False,
        health=Health(("/bin/sh", "-c", "curl --fail localhost"), 90.0, 5.0, 0.5, 0.5, 5),
    )


@pytest.mark.parametrize(
    ("said", "dockerfile", "base"),
    [
        ("", "e2b.Dockerfile", None),
        ('dockerfile = "A"', "A", None),
        ('[build]\ndockerfile = "B"', "B", None),
        ('dockerfile = "A"\n[build]\ndockerfile = "B"', "A", "B"),
        ('dockerfile = "A"\n[build]\ndockerfile = "./A"', "A", None),
    ],
)
def test_which_dockerfile_is_built_and_which_it_extends(said: str, dockerfile: str, base: str | None) -> None:
    found = parsed(f'name = "web"\n{said}')
    assert found.dockerfile == Path("e2b", dockerfile)
    assert found.base == (Path("e2b", base) if base else None)


def test_other_spellings_that_agree() -> None:
    found = parsed('name = "a"\ntemplate_name = "a"\ntimeout = 60\nnetwork = true\nbuild = {timeout = "1m"}')
    assert (found.name, found.timeout, found.network) == ("a", 60.0, True)


def test_what_a_template_is_called() -> None:
    assert parsed('name = "web"\ntemplate_id = "abc"').reference == "web"
    assert parsed('template_id = "abc"').reference == "abc"
    assert parsed('name = "web"\ntemplate_id = ""').reference == "web"


def test_a_health_check_may_be_a_program_and_its_arguments() -> None:
    found = parsed('name = "a"\nhealthcheck.command = ["true", "x"]')
    assert found.health == Health(("true", "x"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cpu_cuont = 1", (2, 1, "there is no key cpu_cuont", "did you mean cpu_count?")),
        ("memory-mb = 2", (2, 1, "there is no key memory-mb", "did you mean memory_mb?")),
        ("  context = '.'", (2, 3, "there is no key context", "it is [build] context")),
        ("[build]\ncpu_count = 1", (3, 1, "there is no key [build] cpu_count", "it is cpu_count")),
        ("build.contxt = 1", (2, 7, "there is no key [build] contxt", "did you mean [build] context?")),
        ("[helthcheck]\ncommand = 'x'", (2, 2, "there is no key helthcheck", "did you mean healthcheck?")),
        ("xyz = 1", (2, 1, "there is no key xyz", "docs/templates.md lists the keys")),
        ("[[builds]]\nid = 1", (2, 3, "there is no key builds", "did you mean build?")),
    ],
)
def test_unknown_keys(text: str, expected: tuple[int, int, str, str]) -> None:
    assert problems_of(f'name = "web"\n{text}') == [expected]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("cpu_count = 0", "cpu_count is 0: it must be a whole number from 1 to 256"),
        ("cpu_count = 257", "cpu_count is 257: it must be a whole number from 1 to 256"),
        ('cpu_count = "2"', 'cpu_count is "2": it must be a whole number from 1 to 256'),
        ("cpu_count = 2.0", "cpu_count is 2.0: it must be a whole number from 1 to 256"),
        ("cpu_count = true", "cpu_count is true: it must be a whole number from 1 to 256"),
        ("memory_mb = 513", "memory_mb is 513: it must be an even number from 128 to 1048576"),
        ("memory_mb = 64", "memory_mb is 64: it must be an even number from 128 to 1048576"),
        ("disk_mb = -1", "disk_mb is -1: it must be a whole number from 64 to 16777216"),
        ("start_cmd = 1", "start_cmd is 1: it must be a string"),
        (
            'start_cmd = "a\\u0000"',
            'start_cmd is "a\\u0000": it must have no NUL and at most 32768 characters',
        ),
        ('dockerfile = ""', 'dockerfile is "": it must be a path relative to the folder of this file'),
        ('dockerfile = "/a"', 'dockerfile is "/a": it must be a path relative to the folder of this file'),
        ("timeout = 0", "timeout is 0: it must be a time from 1 to 86400 seconds"),
        ("timeout = nan", "timeout is nan: it must be a time from 1 to 86400 seconds"),
        ("timeout = inf", "timeout is inf: it must be a time from 1 to 86400 seconds"),
        ('timeout = "soon"', 'timeout is "soon": it must be a time from 1 to 86400 seconds'),
        ("timeout = true", "timeout is true: it must be a time from 1 to 86400 seconds"),
        ("network = 1", "network is 1: it must be true or false"),
        ('tags = "v1"', 'tags is "v1": it must be a list of tags'),
        ('tags = ["V1"]', "tags is [\"V1\"]: 'V1' cannot be a tag"),
        ("tags = [1]", "tags is [1]: 1 cannot be a tag"),
        ('template_id = "A B"', 'template_id is "A B": it cannot be an id'),
        ("build = 1", "build is 1: it must be a table"),
        ("build.args = [1]", "[build] args is [1]: it must be a table of build arguments"),
        (
            "build.args = {a-b = 1}",
            "[build] args is {\"a-b\": 1}: 'a-b' cannot be the name of a build argument",
        ),
        ("build.args = {a = []}", '[build] args is {"a": []}: a must be a string, a number, true or false'),
        ('build.target = "-"', '[build] target is "-": it must be the name or number of a stage'),
        ("dockerfile = 2025-01-01", "dockerfile is 2025-01-01: it must be a string"),
    ],
)
def test_wrong_values(line: str, said: str) -> None:
    found = problems_of(f'name = "web"\n\n {line}')
    assert [(at, message) for at, _, message, _ in found] == [(3, said)]


@pytest.mark.parametrize("name", ["Web", "", "a:b", "a/b/c", "a b", "-a"])
def test_wrong_names(name: str) -> None:
    ((line, column, message, hint),) = problems_of(f'name = "{name}"')
    assert (line, column, message) == (1, 1, f'name is "{name}": it cannot be a template\'s name')
    assert hint.startswith("names are of lowercase letters")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            'template_name = "b"\nname = "a"',
            (1, 1, 'template_name is "b", but name is "a"', "they mean the same: leave one out"),
        ),
        (
            'name = "a"\nnetwork = true\nbuild.network = false',
            (3, 7, "[build] network is false, but network is true", "they mean the same: leave one out"),
        ),
        ("cpu_count = 1", (1, 1, "the template has no name", 'add name = "..."')),
        ("", (1, 1, "the template has no name", 'add name = "..."')),
        ('template_id = ""', (1, 1, "template_id is empty and there is no name", 'add name = "..."')),
        ('name = "a"\n[healthcheck]\n', (2, 2, "[healthcheck] has no command", 'add command = "..."')),
    ],
)
def test_contradictions_and_what_is_missing(text: str, expected: tuple[int, int, str, str]) -> None:
    assert problems_of(text) == [expected]


@pytest.mark.parametrize(
    "check",
    [
        "command = ''",
        "command = []",
        "command = [1]",
        "retries = 0",
        "retries = 1.5",
        "interval = 0",
        "timeout = '1d'",
    ],
)
def test_wrong_health_checks(check: str) -> None:
    text = f"name = 'a'\n[healthcheck]\n{check}\n" + ("" if "command" in check else "command = 'true'")
    assert [(line, column) for line, column, *_ in problems_of(text)] == [(3, 1)]


def test_all_problems_are_told_at_once_in_order_and_the_rest_is_read() -> None:
    text = b'[build]\ncontext = 1\nargs = {A = "1"}\n[other]\n[healthcheck]\ncommand = "x"\nretries = 0\n'
    found, problems = definition.parse(b'nmae = "a"\ncpu_count = 0\nmemory_mb = 512\n' + text, "e2b.toml")
    assert [(problem.line, problem.column) for problem in problems] == [
        (1, 1),
        (1, 1),
        (2, 1),
        (5, 1),
        (7, 2),
        (10, 1),
    ]
    assert found
    assert (found.memory_mb, found.cpu_count, found.args, found.context) == (512, None, {"A": "1"}, Path())
    assert found.health == Health(("/bin/sh", "-c", "x"))


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        (b"name = ", 1, 8),
        (b'name = "a', 1, 10),
        (b'name = "a"\nname = "b"', 2, 11),
        (b'\n  name "a"', 2, 8),
        (b"name = 'a'\n\n", 0, 0),
        (b"name = 'a'\n# \xff\n", 2, 3),
        (b"\xff\xfen\0", 1, 1),
        (b"a = " + b"[" * 100_000, 1, 1),
        (b"a = 1\r\nb = \r\n", 2, 5),
        (b"\n b = {" + b"a ." * 10_000 + b"a = 1}", 2, 7),
        (b"[" + b"'a'." * 10_000 + b"a]", 1, 2),
        (b"# " + b"x" * (1 << 16), 1, 1),
    ],
)
def test_what_is_not_toml_is_told_with_its_place(text: bytes, line: int, column: int) -> None:
    found, problems = definition.parse(text, "e2b.toml")
    assert [(problem.line, problem.column) for problem in problems] == ([(line, column)] if line else [])
    assert (found is None) == bool(line)


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("FROM scratch\n")


def places(problems: tuple[Problem, ...]) -> list[tuple[int, int]]:
    return [(problem.line, problem.column) for problem in problems]


def test_a_folder_is_loaded_by_its_name_or_by_its_files(tmp_path: Path) -> None:
    (tmp_path / "e2b.toml").write_bytes(TEAMS)
    write(tmp_path, "Dockerfile", "e2b.Dockerfile")
    by_folder = definition.load(tmp_path)
    assert by_folder == definition.load(tmp_path / "e2b.toml")
    found, problems = by_folder
    assert (problems, found.folder, found.dockerfile) == ((), tmp_path, tmp_path / "e2b.Dockerfile")


@pytest.mark.parametrize(
    ("names", "dockerfile"),
    [
        (["Dockerfile"], "Dockerfile"),
        (["e2b.Dockerfile"], "e2b.Dockerfile"),
        (["Dockerfile", "e2b.Dockerfile"], "e2b.Dockerfile"),
    ],
)
def test_without_a_word_the_dockerfile_that_is_there_is_built(
    tmp_path: Path, names: list[str], dockerfile: str
) -> None:
    (tmp_path / "e2b.toml").write_text('name = "web"')
    write(tmp_path, *names)
    found, problems = definition.load(tmp_path)
    assert (problems, found.dockerfile) == ((), tmp_path / dockerfile)


def test_files_that_are_not_there_are_problems(tmp_path: Path) -> None:
    (tmp_path / "e2b.toml").write_bytes(TEAMS.replace(b'"."', b'"nope"'))
    found, problems = definition.load(tmp_path)
    assert found.name == "web"
    assert places(problems) == [(3, 1), (6, 1), (7, 1)]
    assert [problem.message for problem in problems] == [
        f"there is no file {tmp_path}/e2b.Dockerfile",
        f"there is no directory {tmp_path}/nope",
        f"there is no file {tmp_path}/Dockerfile",
    ]


def test_no_dockerfile_at_all_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "e2b.toml").write_text('name = "web"')
    ((problem),) = definition.load(tmp_path)[1]
    assert (problem.line, problem.column) == (1, 1)
    assert "e2b.Dockerfile" in problem.message


def test_a_context_that_is_a_file_and_a_dockerfile_that_is_a_folder_are_problems(tmp_path: Path) -> None:
    (tmp_path / "e2b.toml").write_text('name = "web"\ndockerfile = "folder"\nbuild.context = "file"')
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    assert places(definition.load(tmp_path)[1]) == [(2, 1), (3, 7)]


@pytest.mark.parametrize("key", ["dockerfile", "build.dockerfile", "build.context"])
@pytest.mark.parametrize("path", ["..", "../beside", "link", "folder/../../beside"])
def test_files_outside_of_the_folder_are_refused(tmp_path: Path, key: str, path: str) -> None:
    folder = tmp_path / "template"
    write(folder, "Dockerfile", "e2b.Dockerfile", "folder/file")
    write(tmp_path, "beside")
    (folder / "link").symlink_to("../beside")
    dockerfile = 'dockerfile = "Dockerfile"\n' if key != "dockerfile" else ""
    (folder / "e2b.toml").write_text(f'{dockerfile}name = "web"\n{key} = "{path}"')
    (problem,) = definition.load(folder)[1]
    assert f"which leads out of {folder}" in problem.message


def test_a_folder_may_use_all_of_its_repository(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    write(tmp_path, "Dockerfile", "sub/e2b.Dockerfile")
    (tmp_path / "sub" / "e2b.toml").write_bytes(OURS.replace(b"docker/Dockerfile", b"../Dockerfile"))
    found, problems = definition.load(tmp_path / "sub")
    assert (problems, found.context.resolve()) == ((), tmp_path)
    (tmp_path / "sub" / "e2b.toml").write_text('name = "web"\nbuild.context = "../.."')
    assert places(definition.load(tmp_path / "sub")[1]) == [(2, 7)]


def test_no_file_is_an_error_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(BermError) as caught:
        definition.load(tmp_path)
    assert (caught.value.code, caught.value.message) == (
        Code.NOT_FOUND,
        f"there is no file {tmp_path}/e2b.toml",
    )
    assert "berm template init" in caught.value.hint


def test_a_file_that_is_not_toml_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "e2b.toml").write_text("name =")
    with pytest.raises(DefinitionError) as caught:
        definition.load(tmp_path)
    assert places(caught.value.problems) == [(1, 7)]


@pytest.mark.parametrize("kind", ["fifo", "endless", "directory"])
def test_a_file_that_is_none_is_an_error(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "e2b.toml"
    if kind == "fifo":
        os.mkfifo(file)
    elif kind == "endless":
        file.symlink_to("/dev/zero")
    else:
        (file / "e2b.toml").mkdir(parents=True)
    with pytest.raises(BermError, match="not a regular file"):
        definition.load(file)


@pytest.mark.parametrize("folder", ["e2b", "examples/e2b-debian"])
def test_the_living_examples_are_right(folder: str) -> None:
    found, problems = definition.load(ROOT / folder)
    assert problems == ()
    assert (found.dockerfile.name, found.base and found.base.name) == ("e2b.Dockerfile", "Dockerfile")
    context = Context(found.context, found.dockerfile)
    assert (context.problems(), [entry.path for entry in context.entries]) == ((), ["README.md"])


def test_the_examples_in_the_documentation_are_right() -> None:
    blocks = re.findall(r"```toml\n(name.*?)```", (ROOT / "docs" / "templates.md").read_text(), re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        parsed(block)


def test_every_key_is_in_the_documentation() -> None:
    text = (ROOT / "docs" / "templates.md").read_text()
    for path in READERS:
        shown = path[0] if len(path) == 1 else f"[{path[0]}] {path[1]}"
        assert f"| `{shown}` |" in text, shown
