import pytest

from berm.errors import BermError
from berm.templates.sources import exclusion, is_exclusion, kept_from, left_out, path_of, pivoted


@pytest.mark.parametrize(
    ("source", "plan", "path", "first"),
    [
        ("a/b", "a/b", "a/b", 0),
        ("./a/b", "a/b", "a/b", 0),
        ("a/./b/c", "a/./b/c", "a/b/c", 1),
        ("/a/b/./c", "a/b/./c", "a/b/c", 2),
        ("a/./.", "a/./.", "a", 1),
        ("/./a", "a", "a", 0),
        (".", ".", ".", 0),
    ],
)
def test_what_a_source_keeps(source: str, plan: str, path: str, first: int) -> None:
    assert pivoted(source) == plan
    assert (path_of(plan), kept_from(plan)) == (path, first)


@pytest.mark.parametrize(
    ("patterns", "out", "kept"),
    [
        (["*.md"], ["a.md", "x.md/y"], ["a.txt", "d/a.md", ""]),
        (["**/*.md"], ["a.md", "d/e/a.md"], ["a.mdx"]),
        (["a/b", "c"], ["a/b", "a/b/c/d", "c/x"], ["a", "a/c", "d/c", "b"]),
        (["**"], ["a", "a/b"], [""]),
        ([r"\!a"], ["!a"], ["a"]),
        ([], [], ["a", "a/b"]),
    ],
)
def test_what_is_left_out(patterns: list[str], out: list[str], kept: list[str]) -> None:
    is_out = left_out(patterns)
    assert [path for path in (*out, *kept) if is_out(path)] == out


@pytest.mark.parametrize(
    ("pattern", "plan"),
    [("./a/", "a"), ("/a//b", "a/b"), (" *.md ", "*.md"), (r"\!a", r"\!a"), ("a/../b", "b")],
)
def test_patterns_are_cleaned(pattern: str, plan: str) -> None:
    assert exclusion(pattern) == plan
    assert is_exclusion(plan)
    assert is_exclusion(pattern) is (pattern == plan)


@pytest.mark.parametrize("pattern", ["", " ", ".", "/", "!a", "[a", "a\\"])
def test_what_is_no_pattern(pattern: str) -> None:
    assert not is_exclusion(pattern)
    with pytest.raises(BermError):
        exclusion(pattern)
