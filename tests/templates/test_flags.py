import pytest

from berm.templates.flags import KNOWN, take
from berm.templates.instructions import RULES
from berm.templates.lines import Span

Complaints = list[tuple[int, str, str]]


def _take(text: str, keyword: str) -> tuple[tuple[tuple[str, str], ...], Span, Complaints]:
    complaints: Complaints = []
    flags, rest = take(Span(text, 4), keyword, lambda *complaint: complaints.append(complaint))
    return flags, rest, complaints


@pytest.mark.parametrize(
    ("keyword", "text", "flags", "rest"),
    [
        ("RUN", "a --b", (), "a --b"),
        ("RUN", " -x a", (), "-x a"),
        ("RUN", "--network=none  a b ", (("network", "none"),), "a b"),
        ("RUN", "--mount=type=a,b=c\t--mount=d e", (("mount", "type=a,b=c"), ("mount", "d")), "e"),
        ("RUN", '--mount="a b" c', (("mount", "a b"),), "c"),
        ("RUN", "--mount=a,'\"b\",c' d", (("mount", 'a,"b",c'),), "d"),
        ("RUN", '--mount="a\\"b\\\\" c', (("mount", 'a"b\\'),), "c"),
        ("RUN", "--mount=a\\ b\\\\ c", (("mount", "a b\\"),), "c"),
        ("RUN", "--mount=$x c", (("mount", "$x"),), "c"),
        ("RUN", "-- --a b", (), "--a b"),
        ("RUN", "--network=host -- --a", (("network", "host"),), "--a"),
        ("COPY", "--link --from=a b c", (("link", ""), ("from", "a")), "b c"),
        ("COPY", "--link=false --chown= a b", (("link", "false"), ("chown", "")), "a b"),
        ("ADD", "--exclude=a --exclude=b c d", (("exclude", "a"), ("exclude", "b")), "c d"),
        ("CMD", "a", (), "a"),
    ],
)
def test_flags(keyword: str, text: str, flags: tuple[tuple[str, str], ...], rest: str) -> None:
    taken, left, complaints = _take(text, keyword)
    assert (taken, left.text, complaints) == (flags, rest, [])
    assert (" " * 4 + text)[left.at :].startswith(rest)


@pytest.mark.parametrize(
    ("keyword", "text", "complaint"),
    [
        ("COPY", "--form=a b c", (4, "COPY has no flag --form", "did you mean --from?")),
        ("COPY", "--From=a b c", (4, "COPY has no flag --From", "did you mean --from?")),
        ("FROM", "--zzz a", (4, "FROM has no flag --zzz", "there are --platform")),
        ("CMD", "--verbose", (4, "CMD has no flag --verbose", "write -- before what is no flag")),
        ("CMD", "--", None),
        ("RUN", "--=a b", (4, "RUN has no flag --", "there are --device, --mount, --network, --security")),
        ("COPY", "--link --from=a --from=b c d", (20, "--from is given twice", "remove one of them")),
        ("COPY", "--link --link c d", (11, "--link is given twice", "remove one of them")),
        ("COPY", "--from b c", (4, "--from has no value", "write --from=...")),
        ("COPY", "--link=yes b c", (4, "--link is 'yes': it is true or false", "")),
        ("RUN", '--network=none --mount="a b', (27, "a quote in a flag is not closed", "")),
        ("RUN", "--mount=a 'b", None),
    ],
)
def test_complaints(keyword: str, text: str, complaint: tuple[int, str, str] | None) -> None:
    _, _, complaints = _take(text, keyword)
    assert complaints == ([complaint] if complaint else [])


def test_every_wrong_flag_is_named() -> None:
    _, rest, complaints = _take("--a --link --b=1 c", "COPY")
    assert [at for at, _, _ in complaints] == [4, 15]
    assert rest.text == "c"


def test_flags_have_an_end() -> None:
    _, _, complaints = _take("--mount=a " * 200, "RUN")
    assert [message for _, message, _ in complaints] == ["RUN has more than 100 flags"]
    flags, _, complaints = _take("--mount=a " * 99 + "b", "RUN")
    assert (len(flags), complaints) == (99, [])


def test_the_table_is_of_known_instructions() -> None:
    assert KNOWN.keys() <= RULES.keys()
