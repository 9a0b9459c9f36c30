import pytest

from berm.templates import globs
from berm.templates.findings import InstructionError
from berm.templates.paths import absolute, literal, relative


@pytest.mark.parametrize(
    ("path", "workdir", "expected"),
    [
        ("/a", "/w", "/a"),
        ("a", "/w", "/w/a"),
        ("a", "w", "/w/a"),
        ("a/", "/w", "/w/a/"),
        ("", "/w", "/w/"),
        (".", "/w", "/w/"),
        ("..", "/w/x", "/w/"),
        ("../../..", "/w", "/"),
        ("//a///b", "/w", "/a/b"),
        ("/", "/w", "/"),
        ("//", "/w", "/"),
        ("/a/./b/../c", "/", "/a/c"),
    ],
)
def test_absolute(path: str, workdir: str, expected: str) -> None:
    assert absolute(path, workdir) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a", "a"),
        ("/a/", "a"),
        (".", "."),
        ("", "."),
        ("/", "."),
        ("a//./b", "a/b"),
        ("a/../b", "b"),
        ("a/..", "."),
    ],
)
def test_relative(path: str, expected: str) -> None:
    assert relative(path) == expected


@pytest.mark.parametrize("path", ["..", "../a", "a/../../b", "/.."])
def test_a_path_cannot_lead_out(path: str) -> None:
    with pytest.raises(InstructionError, match="leads out"):
        relative(path)


@pytest.mark.parametrize("path", ["a\0b", "\0"])
def test_a_path_has_no_nul(path: str) -> None:
    with pytest.raises(InstructionError, match="NUL"):
        relative(path)
    with pytest.raises(InstructionError, match="NUL"):
        absolute(path, "/")


@pytest.mark.parametrize("name", ["a", "a*", "[id]", "a?[b]*", "back\\slash", "back\\slash*", "]", "a[b"])
def test_a_literal_stands_for_itself_only(name: str) -> None:
    pattern = literal(name)
    if globs.is_glob(pattern):
        assert globs.compiled(pattern, deep=False).match(name)
        assert not globs.compiled(pattern, deep=False).match(name + "x")
        assert not globs.compiled(pattern, deep=False).match("i")
    else:
        assert pattern == name
