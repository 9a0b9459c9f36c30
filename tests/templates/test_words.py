import re

import pytest

from berm.templates.patterns import LONGEST
from berm.templates.words import MalformedError, check, expand, split, used

VARIABLES = {
    "x": "a.b.c",
    "_y1": "under",
    "empty": "",
    "spaced": " p  q ",
    "path": "/usr/local/bin",
    "ünï": "letters",
    "quote": '"$x"',
}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("", ""),
        ("plain", "plain"),
        ("$x", "a.b.c"),
        ("${x}", "a.b.c"),
        ("$x-$x", "a.b.c-a.b.c"),
        ("$_y1!", "under!"),
        ("${ünï}", "letters"),
        ("$xy", ""),
        ("${x}y", "a.b.cy"),
        ("$unset.", "."),
        ("$1x", "x"),
        ("$12x", "x"),
        ("$$x", "x"),
        ("$", "$"),
        ("a$", "a$"),
        ("$ x", "$ x"),
        ("$(x)", "$(x)"),
        ("$/x", "$/x"),
        ("a}b/c", "a}b/c"),
        ("$quote", '"$x"'),
        # defaults
        ("${x-d}", "a.b.c"),
        ("${empty-d}", ""),
        ("${unset-d}", "d"),
        ("${x:-d}", "a.b.c"),
        ("${empty:-d}", "d"),
        ("${unset:-d}", "d"),
        ("${unset:-}", ""),
        ("${x+s}", "s"),
        ("${empty+s}", "s"),
        ("${unset+s}", ""),
        ("${x:+s}", "s"),
        ("${empty:+s}", ""),
        ("${unset:+s}", ""),
        ("${x?m}", "a.b.c"),
        ("${empty?m}", ""),
        ("${x:?m}", "a.b.c"),
        ("${unset:-$x}", "a.b.c"),
        ("${unset:-${none:-${x}}}!", "a.b.c!"),
        ("${unset:-'}'}", "}"),
        ('${unset:-"}"}', "}"),
        ("${unset:-\\}}", "}"),
        ("${unset:-/a/b}", "/a/b"),
        # patterns
        ("${x#a.}", "b.c"),
        ("${x#*.}", "b.c"),
        ("${x##*.}", "c"),
        ("${x%.*}", "a.b"),
        ("${x%%.*}", "a"),
        ("${x%.?}", "a.b"),
        ("${x#b}", "a.b.c"),
        ("${x%b}", "a.b.c"),
        ("${path##*/}", "bin"),
        ("${path%/*}", "/usr/local"),
        ("${x/./-}", "a-b.c"),
        ("${x//./-}", "a-b-c"),
        ("${x//.}", None),
        ("${x//./}", "abc"),
        ("${path/\\/usr/}", "/local/bin"),
        ("${path//\\//_}", "_usr_local_bin"),
        ("${x/b/$x}", "a.a.b.c.c"),
        ("${x/$x/z}", "z"),
        ("${unset/a/b}", ""),
        ("${unset#a}", ""),
        ("${x#\\*}", "a.b.c"),
        ('${x#"a."}', "b.c"),
        # quotes
        ("'$x'", "$x"),
        ('"$x"', "a.b.c"),
        ("\"'$x'\"", "'a.b.c'"),
        ("'\"'", '"'),
        ("a'b'\"c\"d", "abcd"),
        ('"a b"', "a b"),
        ('""', ""),
        ("'\\'", "\\"),
        ('"${unset:-a b}"', "a b"),
        # escapes
        ("\\$x", "$x"),
        ("\\\\$x", "\\a.b.c"),
        ("\\a", "a"),
        ("\\", ""),
        ("a\\", "a"),
        ("\\'x", "'x"),
        ('"\\$x"', "$x"),
        ('"\\""', '"'),
        ('"\\\\"', "\\"),
        ('"\\n"', "\\n"),
        ("\\ a", " a"),
    ],
)
def test_expand(text: str, result: str | None) -> None:
    if result is None:
        with pytest.raises(MalformedError):
            expand(text, VARIABLES)
    else:
        assert expand(text, VARIABLES) == result


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("`$x", "$x"),
        ("\\$x", "\\a.b.c"),
        ('"`$x`n\\"', "$x`n\\"),
        ("c:\\dir", "c:\\dir"),
        ("${x/`./-}", None),
    ],
)
def test_the_other_escape(text: str, result: str | None) -> None:
    if result is None:
        with pytest.raises(ValueError, match=r"escape before '\.'"):
            expand(text, VARIABLES, "`")
    else:
        assert expand(text, VARIABLES, "`") == result


@pytest.mark.parametrize(
    ("text", "result"),
    [('it\'s "$x"', 'it\'s "a.b.c"'), ("\\$x \\\\ \\n", "$x \\ n"), ("'${x}'\n", "'a.b.c'\n"), ('"', '"')],
)
def test_without_quotes(text: str, result: str) -> None:
    assert expand(text, VARIABLES, quotes=False) == result


@pytest.mark.parametrize(
    ("text", "message", "offset"),
    [
        ("ab'c", "a single quote is not closed", 2),
        ('ab"c$x', "a double quote is not closed", 2),
        ('"a\\"', "a double quote is not closed", 0),
        ("a${", "a '}' is missing after ${", 1),
        ("a${x", "a '}' is missing after ${", 1),
        ("a${x:-b", "a '}' is missing after ${", 1),
        ("a${x:-${y}", "a '}' is missing after ${", 1),
        ("a${x/b}", "a '/' is missing after ${", 1),
        ("a${x/b/c", "a '}' is missing after ${", 1),
        ("a${}", "${ is followed by '}' and not by the name of a variable", 1),
        ("${:-a}", "${ is followed by ':' and not by the name of a variable", 0),
        ("${{x}}", "${ is followed by '{' and not by the name of a variable", 0),
        ("${x!}", "${x is followed by '!', which means nothing there", 0),
        ("${x:1:2}", "${x is followed by ':', which means nothing there", 0),
        ("${x:#a}", "${x is followed by ':', which means nothing there", 0),
        ("${#x}", "${# is followed by 'x', which means nothing there", 0),
        ("-" + "${x:-" * 31, "${ stands more than 30 deep in itself", 151),
    ],
)
def test_malformed(text: str, message: str, offset: int) -> None:
    with pytest.raises(MalformedError) as caught:
        expand(text, VARIABLES)
    assert (str(caught.value), caught.value.offset) == (message, offset)
    with pytest.raises(MalformedError):
        check(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${unset?}", "unset: this variable must have a value"),
        ("${unset:?give it}", "unset: give it"),
        ("${empty:?give $x}", "empty: give a.b.c"),
        ("${x#\\a}", "the pattern '\\\\a' has an escape before 'a', which needs none"),
        (f"${{x#{'a' * 1001}}}", "a pattern has 1001 characters: 1000 is the most"),
    ],
)
def test_values_that_are_refused(text: str, message: str) -> None:
    check(text)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        expand(text, VARIABLES)


def test_deep_but_not_too_deep() -> None:
    assert expand("${u:-" * 30 + "x" + "}" * 30, {}) == "x"
    assert expand("${u:-x}" * 100, {}) == "x" * 100


def test_what_grows_without_end_is_refused() -> None:
    large = {"a": "x" * LONGEST, "b": "y" * 2000}
    assert len(expand("$a", large)) == LONGEST
    for text in ("$a.", "${a}${a}", "${unset:-$a$a}", "${a//x/$b}", '"$a$a"', "${b/y/$a}"):
        with pytest.raises(ValueError, match=f"longer than {LONGEST}"):
            expand(text, large)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("", ()),
        ("  ", ()),
        ("a  b\tc\n", ("a", "b", "c")),
        ("80 443/tcp $x", ("80", "443/tcp", "a.b.c")),
        ("$spaced", ("p", "q")),
        ("a${spaced}b", ("a", "p", "q", "b")),
        ('"$spaced"', (" p  q ",)),
        ("'a b'c d", ("a bc", "d")),
        ("a\\ b", ("a b",)),
        ("${unset:-1 2}", ("1", "2")),
        ('${unset:-"1 2"}', ("1", "2")),
        ("$empty", ()),
        ('""', ()),
        ("a $empty b", ("a", "b")),
    ],
)
def test_split(text: str, result: tuple[str, ...]) -> None:
    assert split(text, VARIABLES) == result


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("plain", ""),
        ("$a ${b} \"$c\" '$d' \\$e", "a b c"),
        ("${a:-$b}${c/$d/$e}${f#${g}}${h:?$i}", "a b c d e f g h i"),
        ("$a ${b", "a b"),
        ("'$a", "a"),
        ("$(( $a + 1 ))", "a"),
    ],
)
def test_used(text: str, names: str) -> None:
    assert used(text) == set(names.split())


def test_used_with_the_other_escape() -> None:
    assert used("`$a \\$b", "`") == {"b"}
