import pytest

from berm.templates.directives import read
from berm.templates.dockerfile import parse
from berm.templates.findings import Findings
from berm.templates.lines import Lines


def _read(text: str) -> tuple[dict[str, str], str, str | None, list[str]]:
    """What was found, the escape, the next line, and the complaints."""
    findings = Findings()
    lines = Lines(text, "Dockerfile", findings)
    found = dict(read(lines, "Dockerfile", findings))
    problems = [f"{each.line}:{each.column} {each.message}" for each in findings.all()]
    return found, lines.escape, lines.next(), problems


@pytest.mark.parametrize(
    ("text", "found", "following"),
    [
        ("FROM a", {}, "FROM a"),
        ("# escape=`\nFROM a", {"escape": "`"}, "FROM a"),
        ("#escape=\\\nFROM a", {"escape": "\\"}, "FROM a"),
        (" #\tEsCaPe = ` \r\nFROM a", {"escape": "`"}, "FROM a"),
        ("# escape=`\n# syntax=docker/dockerfile:1\n# check=skip=A,B;error=true", None, None),
        # Only at the top, and only what is known.
        ("\n# escape=`", {}, ""),
        ("# comment\n# escape=`", {}, "# comment"),
        ("# unknown=x\n# escape=`", {}, "# unknown=x"),
        ("FROM a\n# escape=`", {}, "FROM a"),
        ("# escape=`\n\n# syntax=docker/dockerfile:1", {"escape": "`"}, ""),
        ("# esc\\\nape=`", {}, "# esc\\"),
        ("# escape=", {}, "# escape="),
        ("## escape=`", {}, "## escape=`"),
        ("", {}, ""),
    ],
)
def test_what_is_found(text: str, found: dict[str, str] | None, following: str | None) -> None:
    every = {"escape": "`", "syntax": "docker/dockerfile:1", "check": "skip=A,B;error=true"}
    expected = every if found is None else found
    assert _read(text) == (expected, expected.get("escape", "\\"), following, [])


@pytest.mark.parametrize(
    "name",
    [
        "docker/dockerfile",
        "docker/dockerfile:1",
        "docker/dockerfile:1.7-labs",
        "docker/dockerfile:1.20.0",
        "docker/dockerfile:latest",
        "docker/dockerfile:labs",
        "docker/dockerfile-upstream:master-labs",
        "docker.io/docker/dockerfile:1",
        "registry.example:5000/mirror/docker/dockerfile:1",
        "docker/dockerfile:1@sha256:0123",
        "docker/dockerfile:1 --an-argument",
    ],
)
def test_the_language_is_dockers(name: str) -> None:
    assert _read(f"# syntax={name}\n")[3] == []


@pytest.mark.parametrize(
    ("text", "complaints"),
    [
        ("# escape=x", ["1:10 the escape cannot be 'x'"]),
        ("#  escape = ``", ["1:13 the escape cannot be '``'"]),
        ("# escape=`\n# Escape=`", ["2:3 a second directive escape"]),
        ("# syntax=other/frontend:1", ["1:10 the syntax 'other/frontend:1' is not one that berm reads"]),
        (
            "# syntax=docker/dockerfile:2",
            ["1:10 the syntax 'docker/dockerfile:2' is not one that berm reads"],
        ),
        ("# syntax=xdocker/dockerfile", ["1:10 the syntax 'xdocker/dockerfile' is not one that berm reads"]),
        ("# check=skp=all", ["1:9 there is no check 'skp'"]),
        (
            "# escape=x\n# syntax=y",
            ["1:10 the escape cannot be 'x'", "2:10 the syntax 'y' is not one that berm reads"],
        ),
    ],
)
def test_what_is_wrong(text: str, complaints: list[str]) -> None:
    assert _read(text)[3] == complaints


def test_they_stand_above_a_file() -> None:
    dockerfile, problems = parse(b"# escape=`\n# check=error=true\nFROM a\nRUN b `\n c\n")
    assert problems == ()
    assert dockerfile.directives == {"escape": "`", "check": "error=true"}
    assert dockerfile.instructions[1].text == "b  c"
