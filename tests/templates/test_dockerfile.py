import random
from collections.abc import Iterator

import pytest

from berm.templates.dockerfile import LARGEST, Heredoc, Instruction, parse, parse_instruction
from berm.templates.problems import Severity


def _only(text: str, escape: str = "\\") -> Instruction:
    """The one instruction of a stage without a problem."""
    head = "" if escape == "\\" else f"# escape={escape}\n"
    dockerfile, problems = parse(f"{head}FROM a\n{text}".encode())
    assert problems == ()
    _, instruction = dockerfile.instructions
    return instruction


def _complaints(text: str | bytes) -> list[str]:
    """Place, severity and message of each problem; every one has a file."""
    _, problems = parse(text if isinstance(text, bytes) else text.encode(), "sub/Dockerfile")
    assert all(problem.file == "sub/Dockerfile" for problem in problems)
    return [f"{each.line}:{each.column}: {each.severity}: {each.message}" for each in problems]


def test_a_whole_file() -> None:
    dockerfile, problems = parse(
        b"# syntax=docker/dockerfile:1\n"
        b"# check=skip=all\n"
        b"\n"
        b"ARG V=12\n"
        b"# the base\n"
        b"FROM debian:${V} AS build\n"
        b"  # indented\n"
        b"\trun make \\\n"
        b"    all\n"
        b"FROM scratch\n"
        b"COPY --from=build /out /"
    )
    assert problems == ()
    assert dockerfile.file == "Dockerfile"
    assert dockerfile.escape == "\\"
    assert dockerfile.directives == {"syntax": "docker/dockerfile:1", "check": "skip=all"}
    assert dockerfile.instructions == (
        Instruction("ARG", 4, 1, 4, "ARG V=12", words=("V=12",), pairs=(("V", "12"),), text="V=12"),
        Instruction(
            "FROM",
            6,
            1,
            6,
            "FROM debian:${V} AS build",
            words=("debian:${V}", "AS", "build"),
            text="debian:${V} AS build",
        ),
        Instruction("RUN", 8, 2, 9, "run make     all", words=("make     all",), text="make     all"),
        Instruction("FROM", 10, 1, 10, "FROM scratch", words=("scratch",), text="scratch"),
        Instruction(
            "COPY",
            11,
            1,
            11,
            "COPY --from=build /out /",
            flags=(("from", "build"),),
            words=("/out", "/"),
            text="/out /",
        ),
    )


@pytest.mark.parametrize(
    ("text", "shell"),
    [
        ("RUN a", "a"),
        ("RUN a \n", "a"),
        ("RUN   a  b  ", "a  b"),
        ("RUN\ta\tb", "a\tb"),
        ("RUN a\r\n", "a"),
        ("RUN a \\\r\n  b\r\n", "a   b"),
        ("RUN a\\\nb", "ab"),
        ("RUN a \\  \t\n b", "a  b"),
        ("RUN \\\n a", "a"),
        ("\\\nRUN a", "a"),
        ("RU\\\nN a", "a"),
        ("RUN a \\\n# comment\n  # another \\\n && b", "a  && b"),
        ("RUN a \\\n# comment\n", None),
        ('RUN echo "# no comment"', 'echo "# no comment"'),
        ("RUN a # kept", "a # kept"),
        ("RUN a \\\n b # kept \\\n c", "a  b # kept  c"),
        ("RUN a \\\\\nRUN b", None),
        ("RUN a \\\\\n", "a \\\\"),
        ("RUN a \\\\\\\n", "a \\\\\\"),
        ('RUN "a \\\n b"', '"a  b"'),
        ("RUN a`\n", "a`"),
    ],
)
def test_lines_that_go_on(text: str, shell: str | None) -> None:
    if shell is not None:
        assert _only(text).text == shell
    else:
        dockerfile, _ = parse(f"FROM a\n{text}".encode())
        assert [each.text for each in dockerfile.instructions[1:]] == (
            ["a"] if "comment" in text else ["a \\\\", "b"]
        )


def test_the_other_escape() -> None:
    assert _only("RUN a `\n b \\\n", "`").text == "a  b \\"
    assert _only('ENV a="`"" b=c` d', "`").pairs == (("a", '"`""'), ("b", "c` d"))


@pytest.mark.parametrize("text", ["FROM a\nRUN b \\", "FROM a\nRUN b \\\n", "FROM a\nRUN b \\\n# c\n"])
def test_a_file_that_ends_where_a_line_is_to_follow(text: str) -> None:
    dockerfile, (problem,) = parse(text.encode())
    assert dockerfile.instructions[1].text == "b"
    assert (problem.severity, problem.message) == (
        Severity.WARNING,
        "the file ends where a line is to follow",
    )


def test_a_byte_order_mark() -> None:
    dockerfile, problems = parse(b"\xef\xbb\xbf# escape=`\nFROM a\n")
    assert (dockerfile.escape, problems) == ("`", ())
    assert dockerfile.instructions[0].column == 1


def test_places_on_lines_that_are_joined() -> None:
    text = "FROM a\nENV ok=1 \\\n  # comment\n\\\n  bad \\\n  also\n"
    assert _complaints(text) == [
        "5:3: error: 'bad' has no value",
        "6:3: error: 'also' has no value",
    ]


WRONG = {
    "": ["1:1: error: there is no FROM"],
    "# only\n\n": ["1:1: error: there is no FROM"],
    "\\\n": ["1:1: warning: the file ends where a line is to follow", "1:1: error: there is no FROM"],
    "ARG a\nRUN b": ["1:1: error: there is no FROM"],
    "ARG a\n RUN b\nfrom c": ["2:2: error: RUN stands before the first FROM"],
    "RUN a\nCOPY b c\nFROM d": [
        "1:1: error: RUN stands before the first FROM",
        "2:1: error: COPY stands before the first FROM",
    ],
    "RUN a\nFROM --x b": ["1:1: error: RUN stands before the first FROM", "2:6: error: FROM has no flag --x"],
    "FROM a\nFRO b": ["2:1: error: there is no instruction 'FRO'"],
    "FROM a\n  && b": ["2:3: error: there is no instruction '&&'"],
    "FROM a\nRUN": ["2:4: error: RUN has no arguments"],
    "FROM a\n RUN  \\\n  ": [
        "2:5: error: RUN has no arguments",
        "3:1: warning: a blank line inside an instruction is passed over",
        "3:1: warning: the file ends where a line is to follow",
    ],
    "FROM a\nRUN b \\\n\n \n  c": ["3:1: warning: a blank line inside an instruction is passed over"],
    "FROM a\nRUN <<EOF\nb\n EOF\n": ["2:5: error: the heredoc 'EOF' has no end"],
    "FROM a\nRUN b\\\n <<EOF <<F\nEOF\n": ["3:8: error: the heredoc 'F' has no end"],
    "FROM a\nCOPY --x <<EOF b\nRUN\nEOF\n": ["2:6: error: COPY has no flag --x"],
    "FROM a\nUSER b\0": ["2:7: error: there is a NUL byte"],
    "# ü\nFROM ü\0": ["2:7: error: there is a NUL byte"],
}


@pytest.mark.parametrize("text", WRONG)
def test_complaints(text: str) -> None:
    assert _complaints(text) == WRONG[text]


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        (b"FROM a\nRUN \xffb\n", "2:5: error: there is the byte 0xff, which is not UTF-8"),
        ("FROM ü\xe4".encode("latin-1"), "1:6: error: there is the byte 0xfc, which is not UTF-8"),
        ("FROM ü".encode() + b"\xc3", "1:7: error: there is the byte 0xc3, which is not UTF-8"),
        ("FROM a".encode("utf-16"), "1:1: error: there is the byte 0xff, which is not UTF-8"),
        (b"#" * (LARGEST + 1), f"1:1: error: the file has {LARGEST + 1} bytes: {LARGEST} is the most"),
    ],
)
def test_what_is_no_text(source: bytes, complaint: str) -> None:
    assert parse(source)[0].instructions == ()
    assert _complaints(source) == [complaint]


def test_what_is_wrong_is_left_out_and_the_rest_is_there() -> None:
    dockerfile, problems = parse(b"RUN x\nFROM a\nRUN\nEXPOSE 1\nCOPY x\nFOO\nCMD b\n")
    assert [each.keyword for each in dockerfile.instructions] == ["FROM", "EXPOSE", "CMD"]
    assert [problem.line for problem in problems] == [1, 3, 5, 6]


def test_hints_say_what_to_do() -> None:
    _, problems = parse(b"FROM a\nCOYP a b\nRUN --mont=x y\n&& b\nWORKDIR\n")
    assert [problem.hint for problem in problems] == [
        "did you mean COPY?",
        "did you mean --mount?",
        "to continue a line, end it in \\",
        "write WORKDIR /path",
    ]


def test_problems_have_an_end() -> None:
    dockerfile, problems = parse(b"FROM a\n" + b"RUN\n" * 1000)
    assert len(problems) == 100
    dockerfile, problems = parse(b"FROM a\n" + b"ENV a b\n" * 1000 + b"FOO\n")
    assert len(dockerfile.instructions) == 1001
    assert [problem.severity for problem in problems].count(Severity.ERROR) == 1
    assert len(problems) == 101


# Triggers


@pytest.mark.parametrize(
    "text",
    [
        "RUN make",
        "run make \\\n  all",
        'CMD ["a", "b"]',
        "COPY --from=b <<-A <<'B' /x/\n\tone\nA\ntwo\nB\n",
        "RUN <<EOF\na\n\nEOF\n",
        "HEALTHCHECK CMD a",
        "ENV a=b",
    ],
)
def test_a_trigger_can_be_kept_as_text(text: str) -> None:
    onbuild = _only(f"ONBUILD {text}")
    assert onbuild.nested
    instruction, problems = parse_instruction(onbuild.nested.source, "image", 7)
    assert problems == ()
    assert instruction
    assert (instruction.line, instruction.column, instruction.end_line) == (7, 1, 7)
    again, _ = parse_instruction(instruction.source, "image", 7)
    assert again == instruction
    for part in ("keyword", "flags", "exec_form", "words", "pairs", "text", "heredocs"):
        assert getattr(instruction, part) == getattr(onbuild.nested, part)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a trigger is one instruction: this has 0"),
        ("# escape=`", "a trigger is one instruction: this has 0"),
        ("RUN a\nRUN b", "a trigger is one instruction: this has 2"),
        ("FROM a", "FROM cannot be a trigger"),
        ("MAINTAINER a", "MAINTAINER cannot be a trigger"),
        ("ONBUILD RUN a", "ONBUILD cannot be a trigger"),
        ("RUN <<EOF", "the heredoc 'EOF' has no end"),
        ("RUN \0", "there is a NUL byte"),
        ("RUN \ud800", "there is the byte 0xed, which is not UTF-8"),
        ("nothing known", "there is no instruction 'nothing'"),
    ],
)
def test_what_is_no_trigger(text: str, message: str) -> None:
    instruction, problems = parse_instruction(text, "image", 3)
    assert instruction is None
    (error,) = (problem for problem in problems if problem.severity is Severity.ERROR)
    assert (error.file, error.line, error.column) == ("image", 3, 1)
    assert error.message == message


# Hostile files


PIECES = [
    *"FROM RUN COPY ADD ENV LABEL ARG CMD ENTRYPOINT SHELL EXPOSE VOLUME USER WORKDIR HEALTHCHECK".split(),
    *"ONBUILD NONE AS STOPSIGNAL MAINTAINER --from= --mount=type=cache -- --link #escape= #syntax=".split(),
    *"<< <<- <<EOF <<-'EOF' EOF $ ${ } ${x:- ${x/ ${x## $(( )) ( ' \" \\ ` [ ] , = # : / a b é 0".split(),
    *(
        '["a"]',
        "\n",
        "\n",
        "\n",
        "\\\n",
        "`\n",
        "\r\n",
        " ",
        " ",
        " ",
        "\t",
        "\0",
        "\x0b",
        "\u2028",
        "\ufeff",
    ),
]


def _nonsense() -> Iterator[bytes]:
    chance = random.Random(20)  # noqa: S311
    for _ in range(1500):
        text = "".join(chance.choices(PIECES, k=chance.randint(1, 60)))
        head = chance.choice(["", "FROM a\n", "# escape=`\nFROM a\nRUN "])
        yield f"{head}{text}".encode()
        yield chance.randbytes(chance.randint(0, 40))


def test_nonsense_is_refused_and_never_fails() -> None:
    for source in _nonsense():
        dockerfile, problems = parse(source)
        lines = source.count(b"\n") + 1
        assert all(1 <= problem.line <= lines and problem.column >= 1 for problem in problems), source
        assert all(1 <= each.line <= each.end_line <= lines for each in dockerfile.instructions), source
        if not dockerfile.instructions:
            assert any(problem.severity is Severity.ERROR for problem in problems), source
        parse_instruction(source.decode("utf-8", "surrogateescape"))


LARGE = LARGEST // 4


def _large(begin: str, repeated: str, end: str = "") -> bytes:
    """So large that it would take hours if the time grew with the square of the length."""
    text = f"FROM a\n{begin}".encode()
    count = (LARGE - len(text) - len(end.encode())) // len(repeated.encode())
    return text + repeated.encode() * count + end.encode()


@pytest.mark.parametrize(
    "source",
    [
        _large("RUN ", "a"),
        _large("RUN a ", "\\\n"),
        _large("RUN a ", "b \\\n# c\n\n"),
        _large("", "\n"),
        _large("", "RUN a\n"),
        _large("", "RUN\n"),
        _large("", "a" * 100 + "\n"),
        _large("RUN ", "\\\\"),
        _large("RUN ", "\\ "),
        _large("RUN ", "$(("),
        _large("RUN ", "("),
        _large("RUN ", "a("),
        _large("RUN ", "'"),
        _large("RUN ", '"', "x"),
        _large("RUN ", "<<EOF "),
        _large("COPY ", "<<A ", "/x\n" + "A\n" * 1000),
        _large("COPY " + "<<A " * 40000 + "/\n", "A\n"),
        _large("RUN <<EOF\n", "\t\n", "EOF"),
        _large("RUN <<-EOF\n", "\t", "\nEOF"),
        _large("COPY <<EOF /x\n", "${a}"),
        _large("COPY <<EOF /x\n", "${", "\nEOF"),
        _large("COPY ", "a "),
        _large("COPY ", "'a "),
        _large("COPY [", '"a",', '"b"]'),
        _large("CMD ", "["),
        _large('CMD ["a",', "[", "]"),
        _large("CMD [", "1"),
        _large("ENV ", "a=b "),
        _large("ENV ", "= "),
        _large("ENV ", "a=' "),
        _large('ENV a="', "\\"),
        _large("ENV a=", "${a:-"),
        _large("ENV a=", "${a:-b}"),
        _large("ENV a=${a", "/"),
        _large("LABEL a=", "'\"'"),
        _large("ARG ", "a "),
        _large("EXPOSE ", "$a"),
        _large("RUN ", "--mount=a "),
        _large("RUN ", "--x "),
        _large("RUN --mount=", "'"),
        _large("RUN --mount=", "\\"),
        _large("", "ONBUILD "),
        _large("HEALTHCHECK ", "CMD "),
        _large("", "# escape=`\n"),
        b"# escape=`\n" * (LARGE // 11),
        b"# " + b" " * (LARGE - 2),
        b"#" + b"a=" * (LARGE // 2 - 1),
        b"# syntax=" + b"/docker" * (LARGE // 7 - 2),
    ],
    ids=lambda source: repr(source[:20]),
)
def test_large_files_end(source: bytes) -> None:
    assert LARGE - 200 < len(source) <= LARGE
    dockerfile, problems = parse(source)
    assert dockerfile.instructions or problems
    assert len(problems) <= 200


def test_heredocs_of_an_instruction_that_wraps() -> None:
    nested = _only("ONBUILD RUN <<EOF\na\nEOF\n").nested
    assert nested
    assert nested.heredocs == (Heredoc("EOF", "a\n", True, "<<EOF"),)
    assert (nested.line, nested.column, nested.end_line) == (2, 9, 4)
