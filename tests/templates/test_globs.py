import time

import pytest

from berm.errors import BermError, Code
from berm.templates import globs


@pytest.mark.parametrize(
    ("pattern", "matched", "others"),
    [
        ("a", ["a"], ["b", "ab", "a/a", "A", ""]),
        ("*", ["a", ".hidden", "ü", "a\nb", "\udcff"], ["a/b", "/"]),
        ("*.py", ["a.py", ".py"], ["a.pyc", "a/b.py", "a.py/"]),
        ("a*b*c", ["abc", "aXbXbXc", "abbcc"], ["ab", "acb", "ab/c"]),
        ("*a*", ["a", "banana"], ["b", "b/a"]),
        ("?", ["a", "ü", "\udcff", "\n"], ["", "ab", "/"]),
        ("a?c", ["abc"], ["ac", "a/c"]),
        ("[a-c]", ["a", "c"], ["d", "-"]),
        ("[^a-c]x", ["dx"], ["ax", "/x", "x"]),
        ("[!a]", ["!", "a"], ["b"]),
        ("[\\]x]", ["]", "x"], ["\\"]),
        ("[\\-a]", ["-", "a"], ["b"]),
        ("[b-a]", [], ["a", "b"]),
        ("[a^]", ["a", "^"], ["b"]),
        ("[[]", ["["], ["]"]),
        ("a[/]b", [], ["a/b"]),
        ("\\*", ["*"], ["a", "\\*"]),
        ("a+(b).$^|{}", ["a+(b).$^|{}"], ["aab"]),
        ("a#b c~&", ["a#b c~&"], []),
        ("a/*/c", ["a/b/c"], ["a/c", "a/b/b/c"]),
        ("**", ["a", "a/b", "a\n/b"], []),
        ("**/a", ["a", "b/a", "c/b/a"], ["ba", "a/b"]),
        ("**/*.go", ["a.go", "b/a.go", "c/b/a.go", ".go"], ["a.gox", "a.go/b"]),
        ("a/**", ["a/b", "a/b/c"], ["a", "ab"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["ab", "a/xb", "xa/b"]),
        ("**/a/**", ["a/b", "x/a/b/c"], ["a", "x/a", "xa/b"]),
        ("**/a/*/c/**/d", ["a/b/c/d", "a/a/b/c/x/d", "a/b/c/a/b/c/d"], ["a/c/d", "a/b/c"]),
        ("**/**/a", ["a", "b/a"], ["ba"]),
        ("a**", ["a", "ab", "a/b"], ["b"]),
        ("**a", ["a", "b/a"], ["ba"]),
        ("a**b", ["ab", "ax/b", "a/x/b"], ["axb", "a/xb"]),
        ("a**/b", ["ab", "ax/b"], ["axb"]),
        ("*a**b", ["ab", "xax/ab/b", "aa/b"], ["axb"]),
        ("a***", ["a", "abc"], ["b"]),
        ("?*a****/?", ["aaaa", "xa/b/c"], ["aab/"]),
        ("a****", ["a", "ab/c"], ["b"]),
        ("", [""], ["a"]),
    ],
)
def test_a_pattern_matches_whole_paths(pattern: str, matched: list[str], others: list[str]) -> None:
    expression = globs.compiled(pattern)
    assert [path for path in [*matched, *others] if expression.match(path)] == matched


def test_two_stars_are_one_where_there_is_no_depth() -> None:
    expression = globs.compiled("**/a", deep=False)
    assert expression.match("x/a")
    assert not expression.match("a")
    assert not expression.match("x/y/a")


@pytest.mark.parametrize(
    "pattern", ["[", "[a", "[]", "[]a]", "[^]", "[-a]", "[a-]", "a\\", "[\\", "[a-\\", "[^"]
)
def test_a_broken_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(BermError, match="the pattern") as caught:
        globs.compiled(pattern)
    assert caught.value.code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize("pattern", ["a" * (globs.LONGEST + 1), "a**b**c**d**e**f"])
def test_a_pattern_that_costs_too_much_is_refused(pattern: str) -> None:
    with pytest.raises(BermError, match=r"the most|more than"):
        globs.compiled(pattern)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*a" * 100 + "b", "a" * 250),
        ("a**a**a**a**b", "/".join("a" * 2000)),
        ("**/a/" * 500 + "b", "/".join("a" * 2000)),
        ("**/*a*a*a*a*b", "/".join(["a" * 200] * 20)),
        ("**/" * 1000 + "x", "/" * 4000),
        ("**/*/" * 400 + "x", "a/" * 1000),
        ("**/*?*?*?*?/*?*?*?*?b/**", "/".join(["a" * 200] * 20)),
        ("*" * 4000 + "b", "a" * 4000),
    ],
)
def test_a_hostile_pattern_takes_no_time(pattern: str, path: str) -> None:
    before = time.process_time()
    assert not globs.compiled(pattern).match(path)
    # What backtracks takes hours; this is the time of the processor, so a busy machine does not matter.
    assert time.process_time() - before < 5


@pytest.mark.parametrize(
    ("text", "is_glob"),
    [("a", False), ("a*", True), ("?", True), ("[a]", True), ("\\*", False), ("\\\\*", True), ("a\\", False)],
)
def test_what_is_a_glob(text: str, is_glob: bool) -> None:
    assert globs.is_glob(text) == is_glob
