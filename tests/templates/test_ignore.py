import os
import time
from pathlib import Path

import pytest

from berm.templates import ignore
from berm.templates.ignore import Ignore


def rules(text: str | bytes) -> Ignore:
    found, problems = ignore.parse(text.encode() if isinstance(text, str) else text, ".dockerignore")
    assert problems == ()
    return found


def kept(text: str | bytes, *paths: str) -> list[str]:
    found = rules(text)
    return [path for path in paths if not found.ignores(path)]


@pytest.mark.parametrize(
    ("text", "ignored", "others"),
    [
        ("", [], ["a"]),
        ("a", ["a", "a/b", "a/b/c"], ["ab", "b/a"]),
        ("/a", ["a", "a/b"], ["b/a"]),
        ("a/", ["a", "a/b"], ["b"]),
        ("./a//b/../c", ["a/c"], ["a/b", "c"]),
        ("*.log", ["x.log", "x.log/y"], ["a/x.log"]),
        ("*/x", ["a/x", "a/x/y"], ["x", "a/b/x"]),
        ("**/x", ["x", "a/x", "a/b/x", "a/x/y"], ["xy"]),
        ("a/**", ["a/b", "a/b/c"], ["a"]),
        ("**", ["a", "a/b"], []),
        (".", [], ["a", "a/b"]),
        ("..", [], ["a"]),
        ("../a", [], ["a"]),
        ("# a\n#b\n", [], ["# a", "#b", "a", "b"]),
        ("\\#a", ["#a"], ["a"]),
        ("  a  \r\nb\r\n", ["a", "b"], ["c"]),
        (" #a", ["#a"], []),
        ("\\!a", ["!a"], ["a"]),
        ("a b", ["a b"], ["a", "b"]),
        ("*\n!a", ["b", "b/a"], ["a", "a/b"]),
        ("!a\n*", ["a", "b"], []),
        ("*\n!a\na/b", ["b", "a/b", "a/b/c"], ["a", "a/c"]),
        ("a\n!a/b/c", ["a", "a/x", "a/b", "a/b/x"], ["a/b/c", "a/b/c/d"]),
        ("*\n!**/*.md\nREADME*", ["x", "README.md", "a/x"], ["a/README.md", "x.md"]),
        ("*\n! a", ["b"], ["a"]),
        ("*\n!/a", ["b"], ["a"]),
        ("a[bc]\n[^a]z", ["ab", "bz"], ["ad", "az"]),
        ("\ufeffa", ["a"], []),
        ("ü*", ["über"], ["u"]),
    ],
)
def test_rules(text: str, ignored: list[str], others: list[str]) -> None:
    assert kept(text, *ignored, *others) == others


def test_names_that_are_not_utf8_can_be_named() -> None:
    assert kept(b"\xff*", os.fsdecode(b"\xff\xfe"), "a") == ["a"]


def test_lines_that_are_no_patterns_are_problems_and_the_others_count() -> None:
    found, problems = ignore.parse(b"a\n  b[\n!\nc\\\n!d[-\n", "x/.dockerignore")
    assert [(problem.file, problem.line, problem.column) for problem in problems] == [
        ("x/.dockerignore", 2, 3),
        ("x/.dockerignore", 3, 1),
        ("x/.dockerignore", 4, 1),
        ("x/.dockerignore", 5, 1),
    ]
    assert found.ignores("a")


@pytest.mark.parametrize(
    ("text", "directory", "holds"),
    [
        ("a", "a", False),
        ("a\n!a/b", "a", True),
        ("a\n!a/b/c", "a/b", True),
        ("a\n!a/b/c", "a/x", False),
        ("a\n!a/b", "a/b", False),
        ("a\n!x/b", "a", False),
        ("a\n!*/b", "a", True),
        ("a\n!*/b", "a/c", False),
        ("a\n!**/b", "a/c/d", True),
        ("a\n!a/**", "a", True),
        ("a\n!b/**", "a", False),
        ("a\n!a/[x/y]", "a", True),
        ("*\n!node_modules/*/README.md", "node_modules/x/y", False),
    ],
)
def test_where_exceptions_can_be(text: str, directory: str, holds: bool) -> None:
    found, _ = ignore.parse(text.encode(), ".dockerignore")
    assert found.may_hold(directory) == holds


def test_the_ignore_file_of_the_dockerfile_comes_first(tmp_path: Path) -> None:
    dockerfile = tmp_path / "docker" / "e2b.Dockerfile"
    dockerfile.parent.mkdir()
    (tmp_path / ".dockerignore").write_text("general")
    assert ignore.load(tmp_path, dockerfile)[0].ignores("general")
    dockerfile.with_name("e2b.Dockerfile.dockerignore").write_text("special")
    found, problems = ignore.load(tmp_path, dockerfile)
    assert problems == ()
    assert (found.ignores("special"), found.ignores("general")) == (True, False)
    assert ignore.load(tmp_path)[0].ignores("general")


def test_no_ignore_file_ignores_nothing(tmp_path: Path) -> None:
    found, problems = ignore.load(tmp_path, tmp_path / "Dockerfile")
    assert (found.ignores("a"), problems) == (False, ())


def test_an_ignore_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / ".dockerignore").mkdir()
    problem = ignore.load(tmp_path)[1][0]
    assert (problem.file, "not a regular file" in problem.message) == (str(tmp_path / ".dockerignore"), True)


def test_an_ignore_file_that_leads_nowhere_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / ".dockerignore").symlink_to("missing")
    assert "there is no file" in ignore.load(tmp_path)[1][0].message


def test_an_ignore_file_that_is_too_large_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / ".dockerignore").touch()
    os.truncate(tmp_path / ".dockerignore", 1 << 30)
    assert "more than" in ignore.load(tmp_path)[1][0].message


def test_an_ignore_file_without_end_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / ".dockerignore").symlink_to("/dev/zero")
    assert "not a regular file" in ignore.load(tmp_path)[1][0].message


def test_an_ignore_file_that_is_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".dockerignore")
    assert "not a regular file" in ignore.load(tmp_path)[1][0].message


def test_many_rules_are_quick(tmp_path: Path) -> None:
    found = rules("".join(f"**/dir{number}/*.tmp\n" for number in range(500)))
    before = time.process_time()
    for number in range(2000):
        found.check(f"some/where/dir{number}/file.txt", found.top)
    assert time.process_time() - before < 20
