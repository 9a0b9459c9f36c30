import pytest

from berm.templates.dockerfile import Heredoc, Instruction, parse
from berm.templates.findings import Findings
from berm.templates.heredocs import Marker, body, markers
from berm.templates.lines import Lines, Span


def _names(text: str, shell: bool = True) -> list[str]:
    return [marker.name for marker in markers(Span(text, 0), shell)]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("<<EOF", ["EOF"]),
        ("cat <<EOF", ["EOF"]),
        ("cat << EOF", ["EOF"]),
        ("cat <<- \tEOF > /x", ["EOF"]),
        ("cat 3<<EOF", ["EOF"]),
        ("<<A <<-B | c <<'D'", ["A", "B", "D"]),
        ("a <<EOF|b; c <<F;d", ["EOF", "F"]),
        ("x=$(cat <<EOF)", ["EOF"]),
        ("cat <<EOF>/x", ["EOF"]),
        ("<<a.b-c_d/e", ["a.b-c_d/e"]),
        ("a=' b' <<EOF", ["EOF"]),
        ('echo "a\\" <<A" <<B', ["B"]),
        ("echo \\' <<A '", ["A"]),
        ("echo $((1 << 2)) <<A", ["A"]),
        ("((x <<= (1 << 2))) <<A", ["A"]),
        ("(cat <<A", ["A"]),
        # none
        ("", []),
        ("<<", []),
        ("<< ", []),
        ("<<''", []),
        ("cat <<<EOF", []),
        ("cat <<< EOF", []),
        ("echo $((1<<2))", []),
        ("echo $((1 <<2))", []),
        ("echo $(( (1+1) <<2))", []),
        ("(( a <<b", []),
        ("let a=1<<2", []),
        ("cat<<EOF", []),
        ("echo '<<EOF'", []),
        ('echo "<<EOF"', []),
        ('echo "a <<EOF"', []),
        ('echo "a\n <<EOF"', []),
        ("echo \\<<EOF", []),
        ("echo it's <<EOF", []),
        ('echo "x <<EOF', []),
        ("a # <<EOF", []),
        ("# <<EOF", []),
        ("a#b <<A", ["A"]),
        ("<<a<b", []),
        ('["sh", "-c", "cat <<EOF"]', []),
    ],
)
def test_what_names_a_heredoc(text: str, names: list[str]) -> None:
    assert _names(text) == names


@pytest.mark.parametrize(
    ("text", "names"),
    [("<<a;b(1) /x", ["a;b(1)"]), ("# <<a /x", ["a"]), ("<<'a b' /x", ["a b"]), ('"<<a" /x', [])],
)
def test_names_that_are_for_no_shell(text: str, names: list[str]) -> None:
    assert _names(text, shell=False) == names


@pytest.mark.parametrize(
    ("text", "name", "expand", "strip", "word"),
    [
        ("<<EOF", "EOF", True, False, "<<EOF"),
        ("<<-EOF", "EOF", True, True, "<<-EOF"),
        ("<<'EOF'", "EOF", False, False, "<<'EOF'"),
        ('<<-"E O"F', "E OF", False, True, '<<-"E O"F'),
        ("<<\\EOF", "EOF", False, False, "<<\\EOF"),
        ('<<"a\\"b\\c"', 'a"b\\c', False, False, '<<"a\\"b\\c"'),
        ("4<<  EOF", "EOF", True, False, "4<<EOF"),
    ],
)
def test_markers(text: str, name: str, expand: bool, strip: bool, word: str) -> None:
    (marker,) = markers(Span(f" {text} ", 7), True)
    assert marker == Marker(Span(text, 8), name, expand, strip)
    assert marker.word == word


@pytest.mark.parametrize(
    ("marker", "below", "content"),
    [
        ("<<E", "E\n", ""),
        ("<<E", "E", ""),
        ("<<E", "a\n\n# b \\\n E\nE \nE\nrest", "a\n\n# b \\\n E\nE \n"),
        ("<<E", "\tE\n\ta\nE", "\tE\n\ta\n"),
        ("<<-E", "\ta\n\t\tb\t\n \tc\n\t\n\tE\nrest", "a\nb\t\n \tc\n\n"),
        ("<<E", "a\r\nb\r\nE\r\n", "a\nb\n"),
    ],
)
def test_bodies(marker: str, below: str, content: str) -> None:
    (found,) = markers(Span(marker, 0), True)
    read = body(found, Lines(below, "Dockerfile", Findings()))
    assert read
    assert read.heredoc == Heredoc("E", content, True, marker)


def test_a_body_without_an_end() -> None:
    (found,) = markers(Span("<<E", 0), True)
    lines = Lines("a\n E\n", "Dockerfile", Findings())
    assert body(found, lines) is None
    assert lines.next() is None


def _instructions(text: str) -> tuple[Instruction, ...]:
    dockerfile, problems = parse(f"FROM a\n{text}".encode())
    assert problems == ()
    return dockerfile.instructions[1:]


def test_several_in_one_instruction_and_what_follows() -> None:
    first, second = _instructions("RUN a <<A && \\\n b <<-'B'\n$x\nFROM\nA\n\t$y\n\tB\nCMD x\n")
    assert first.text == "a <<A &&  b <<-'B'"
    assert first.heredocs == (Heredoc("A", "$x\nFROM\n", True, "<<A"), Heredoc("B", "$y\n", False, "<<-'B'"))
    assert (first.line, first.end_line, second.line) == (2, 8, 9)


@pytest.mark.parametrize("text", ["COPY <<A b << 'C' /x/", "ADD --chmod=600 <<A b << 'C' /x/"])
def test_words_that_stand_for_files(text: str) -> None:
    (copy,) = _instructions(f"{text}\n1\nA\n2\nC\n")
    assert copy.words == ("<<A", "b", "<<'C'", "/x/")
    assert [heredoc.word for heredoc in copy.heredocs] == ["<<A", "<<'C'"]


@pytest.mark.parametrize("text", ['RUN ["cat", "<<EOF"]', 'CMD cat "<<EOF"', "CMD cat <<EOF", "ENV a=<<EOF"])
def test_instructions_without_heredocs(text: str) -> None:
    first, second = _instructions(f"{text}\nUSER b\n")
    assert (first.heredocs, second.keyword) == ((), "USER")


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("COPY <<E /x\na ${b}\n ü ${b-\nE\n", (4, 4), "a '}' is missing after ${"),
        (
            "COPY <<A <<-E /x\nA\n\t\t${}\n\tE\n",
            (4, 3),
            "${ is followed by '}' and not by the name of a variable",
        ),
        ("COPY a <<E\nE\n", (2, 8), "the target of COPY is a heredoc"),
        ("COPY <<E\nE\n", (2, 9), "COPY needs a source and a target"),
        ("ONBUILD ADD <<E /x\n${b-\nE\n", (3, 1), "a '}' is missing after ${"),
    ],
)
def test_what_is_wrong_inside(text: str, place: tuple[int, int], message: str) -> None:
    _, (problem,) = parse(f"FROM a\n{text}".encode())
    assert ((problem.line, problem.column), problem.message) == (place, message)


@pytest.mark.parametrize(
    "text", ["RUN <<E\n${\nE\n", "COPY <<'E' /x\n${\nE\n", "COPY <<E /x\nit's \\${\nE\n"]
)
def test_what_is_not_expanded_can_be_anything(text: str) -> None:
    assert len(_instructions(text)) == 1
