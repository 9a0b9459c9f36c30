import pytest

from berm.templates import tomlfile
from berm.templates.tomlfile import Document, KeyPath


def places(text: str) -> dict[KeyPath, tuple[int, int]]:
    document = tomlfile.parse(text.encode(), "x.toml")
    assert isinstance(document, Document)
    return dict(document.places)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("# a = 1\n", {}),
        ("a = 1\n  b=2", {("a",): (1, 1), ("b",): (2, 3)}),
        ("\r\na = 1\r\nb = 2\r\n", {("a",): (2, 1), ("b",): (3, 1)}),
        ("[t]\na = 1", {("t",): (1, 2), ("t", "a"): (2, 1)}),
        ("[ t . u ] # [x]\na = 1", {("t",): (1, 3), ("t", "u"): (1, 7), ("t", "u", "a"): (2, 1)}),
        ("a.b . c = 1", {("a",): (1, 1), ("a", "b"): (1, 3), ("a", "b", "c"): (1, 7)}),
        ("a.b = 1\na.c = 2", {("a",): (1, 1), ("a", "b"): (1, 3), ("a", "c"): (2, 3)}),
        ("[[t]]\na = 1\n[[t]]\na = 2", {("t",): (1, 3), ("t", "a"): (2, 1)}),
        ('"a.b" = 1\n\'c\' = 2\n"\\u0064" = 3', {("a.b",): (1, 1), ("c",): (2, 1), ("d",): (3, 1)}),
        ('a = "x = 1 # [y]\\"\\\\"\nb = 1', {("a",): (1, 1), ("b",): (2, 1)}),
        ("a = 'x\\'\nb = ''\nc = 1", {("a",): (1, 1), ("b",): (2, 1), ("c",): (3, 1)}),
        ('a = """\nx = 1\n\\""" "" """\nb = 1', {("a",): (1, 1), ("b",): (4, 1)}),
        ('a = """x"""""\nb = 1', {("a",): (1, 1), ("b",): (2, 1)}),
        ("a = '''\n[x]\n''y'''''\nb = 1", {("a",): (1, 1), ("b",): (4, 1)}),
        ('a = """"""\nb = ""\nc = 1', {("a",): (1, 1), ("b",): (2, 1), ("c",): (3, 1)}),
        ("a = [1, # x]\n [2], 'x = 1',\n ]\nb = 1", {("a",): (1, 1), ("b",): (4, 1)}),
        (
            "a = {b = 1, c.d = {e = 'x}'}}\nf = []",
            {
                ("a",): (1, 1),
                ("a", "b"): (1, 6),
                ("a", "c"): (1, 13),
                ("a", "c", "d"): (1, 15),
                ("a", "c", "d", "e"): (1, 20),
                ("f",): (2, 1),
            },
        ),
        ("a = {}\nb = [{}, {c = 1}]", {("a",): (1, 1), ("b",): (2, 1), ("b", "c"): (2, 11)}),
        ("a = 1979-05-27 07:32:00 # x\nb = 0x1F", {("a",): (1, 1), ("b",): (2, 1)}),
        ("a = '\u00fc' # \u2028\n  b = 1", {("a",): (1, 1), ("b",): (2, 3)}),
        ("1 = 2\ntrue = 3", {("1",): (1, 1), ("true",): (2, 1)}),
    ],
)
def test_every_key_has_its_place(text: str, expected: dict[KeyPath, tuple[int, int]]) -> None:
    assert places(text) == expected


def test_a_problem_at_what_is_not_there_is_at_the_table_around_it() -> None:
    document = tomlfile.parse(b"\n[t]\n", "x.toml")
    assert isinstance(document, Document)
    assert (document.problem(("t", "a"), "m").line, document.problem(("u",), "m").line) == (2, 1)
