import random
import subprocess

import pytest

from berm.templates.patterns import LONGEST, replace, trim


@pytest.mark.parametrize(
    ("value", "pattern", "results"),
    [
        ("", "", ("", "", "", "")),
        ("", "*", ("", "", "", "")),
        ("abcabc", "", ("abcabc",) * 4),
        ("abcabc", "*", ("abcabc", "", "abcabc", "")),
        ("abcabc", "?", ("bcabc", "bcabc", "abcab", "abcab")),
        ("abcabc", "a*c", ("abc", "", "abc", "")),
        ("abcabc", "*b", ("cabc", "c", "abcabc", "abcabc")),
        ("abcabc", "b*", ("abcabc", "abcabc", "abca", "a")),
        ("abcabc", "*b*", ("cabc", "", "abca", "")),
        ("abcabc", "*?", ("bcabc", "", "abcab", "")),
        ("abcabc", "a*b*c", ("abc", "", "abc", "")),
        ("abcabc", "a*x*c", ("abcabc",) * 4),
        ("a*b*c", "*\\*", ("b*c", "c", "a*b*c", "a*b*c")),
        ("a.b", "a.", ("b", "b", "a.b", "a.b")),
        ("axb", "a.", ("axb",) * 4),
        ("a\nb", "*b", ("", "", "a\n", "")),
        ("[a]", "[", ("a]", "a]", "[a]", "[a]")),
        ("ab", "ab?", ("ab",) * 4),
    ],
)
def test_trim(value: str, pattern: str, results: tuple[str, ...]) -> None:
    """As a shell does: the shortest and the longest of the beginning, then of the end."""
    assert tuple(trim(value, pattern, operator, "\\") for operator in ("#", "##", "%", "%%")) == results


@pytest.mark.parametrize(
    ("value", "pattern", "by", "once", "every"),
    [
        ("abcabc", "b", "-", "a-cabc", "a-ca-c"),
        ("abcabc", "b*", "-", "a-", "a-"),
        ("abcabc", "b?", "-", "a-abc", "a-a-"),
        ("abcabc", "*", "-", "-", "-"),
        ("abcabc", "x", "-", "abcabc", "abcabc"),
        ("abcabc", "", "-", "abcabc", "abcabc"),
        ("abcabc", "a*x", "-", "abcabc", "abcabc"),
        ("aaa", "a", "aa", "aaaa", "aaaaaa"),
        ("aaa", "aa", "", "a", "a"),
        ("a.b.c", ".", "\\1", "a\\1b.c", "a\\1b\\1c"),
        ("", "*", "-", "", ""),
    ],
)
def test_replace(value: str, pattern: str, by: str, once: str, every: str) -> None:
    assert replace(value, pattern, by, "\\", every=False) == once
    assert replace(value, pattern, by, "\\", every=True) == every


@pytest.mark.parametrize("pattern", ["a*" * 400 + "b", "*a" * 400 + "?b", "?" * 999 + "b"])
def test_patterns_that_make_others_take_forever(pattern: str) -> None:
    value = "a" * 10000
    assert all(trim(value, pattern, operator, "\\") == value for operator in ("#", "##", "%%"))
    assert replace(value, pattern, "x", "\\", every=True) == value


@pytest.mark.parametrize("pattern", ["\\", "a\\", "\\a", "\\ "])
def test_escapes_that_mean_nothing(pattern: str) -> None:
    with pytest.raises(ValueError, match="has an escape before"):
        trim("a", pattern, "#", "\\")


def test_what_grows_without_end_is_refused() -> None:
    with pytest.raises(ValueError, match=f"longer than {LONGEST}"):
        replace("a" * 10000, "a", "b" * 1000, "\\", every=True)


def test_against_a_shell() -> None:
    chance = random.Random(3)  # noqa: S311
    cases = [("".join(chance.choices("ab.", k=8)), "".join(chance.choices("ab.*?", k=3))) for _ in range(300)]
    script = 'while read -r v p; do echo "${v#$p}|${v##$p}|${v%$p}|${v%%$p}|${v/$p/-}|${v//$p/-}"; done'
    given = "".join(f"{value} {pattern}\n" for value, pattern in cases)
    said = subprocess.run(["bash", "-c", script], input=given, capture_output=True, text=True, check=True)
    for (value, pattern), line in zip(cases, said.stdout.splitlines(), strict=True):
        trimmed = [trim(value, pattern, operator, "\\") for operator in ("#", "##", "%", "%%")]
        replaced = [replace(value, pattern, "-", "\\", every=every) for every in (False, True)]
        assert "|".join(trimmed + replaced) == line, (value, pattern)
