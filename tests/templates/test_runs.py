import subprocess
from pathlib import Path

import pytest

from berm.templates.plan import Base, Mount, Run
from tests.templates.planning import planned, runs, wrong

SH = ("/bin/sh", "-c")


def run(body: str, **build_args: str) -> Run:
    return runs(planned(f"FROM a AS build\nRUN first\nFROM b\n{body}\n", build_args))[-1]


@pytest.mark.parametrize(
    ("body", "argv"),
    [
        ("RUN make", (*SH, "make")),
        ("RUN make  all && x", (*SH, "make  all && x")),
        ("RUN a \\\n  b", (*SH, "a   b")),
        ("RUN a \\\n# comment\n  b", (*SH, "a   b")),
        ("RUN echo $HOME '${X}' \"$Y\"", (*SH, "echo $HOME '${X}' \"$Y\"")),
        ("ENV X=1\nRUN echo $X", (*SH, "echo $X")),
        ('RUN ["make", "all"]', ("make", "all")),
        ('RUN ["echo", "$X", ""]', ("echo", "$X", "")),
        ('SHELL ["/bin/bash", "-ec"]\nRUN x', ("/bin/bash", "-ec", "x")),
        ('SHELL ["/bin/bash", "-ec"]\nRUN ["x"]', ("x",)),
        ("RUN <<EOF\na $X\nb\nEOF", (*SH, "a $X\nb\n")),
        ("RUN <<'EOF'\na $X\nEOF", (*SH, "a $X\n")),
        ("RUN <<-EOF\n\ta\n\tEOF", (*SH, "a\n")),
        ("RUN <<'A B'\na\nA B", (*SH, "a\n")),
        ('RUN <<- "A  B"\n\ta\n\tA  B', (*SH, "a\n")),
        ("RUN << EOF \na\nEOF", (*SH, "a\n")),
        ("RUN <<'A B' cat\na\nA B", (*SH, "<<'A B' cat\na\nA B")),
        ('SHELL ["/bin/bash", "-c"]\nRUN <<EOF\na\nEOF', ("/bin/bash", "-c", "a\n")),
        ("RUN python3 <<EOF\nprint($X)\nEOF", (*SH, "python3 <<EOF\nprint($X)\nEOF")),
        ("RUN cat <<'A' <<B\n$a\nA\nb\nB", (*SH, "cat <<'A' <<B\n$a\nA\nb\nB")),
        ("RUN cat <<A > /x && y\nt\nA", (*SH, "cat <<A > /x && y\nt\nA")),
    ],
)
def test_what_is_run(body: str, argv: tuple[str, ...]) -> None:
    assert run(body).argv == argv


def output(argv: tuple[str, ...], folder: Path) -> str:
    found = subprocess.run(
        argv,
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(folder)},
        capture_output=True,
        check=True,
    )
    return found.stdout.decode()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('RUN <<EOF\n#!/bin/sh\necho $((1+1)) "$0" | cut -c1\nEOF', "2\n"),
        ("RUN <<EOF\n#!/usr/bin/env python3\nimport sys\nprint('a' + \"b\", len(sys.argv))\nEOF", "ab 1\n"),
        ("RUN <<EOF\n#! /bin/sh -e\nfalse || echo still\nEOF", "still\n"),
        ("RUN <<EOF\n#!/bin/cat\n$X `y` 'z' \\\\ \\n\nEOF", "#!/bin/cat\n$X `y` 'z' \\\\ \\n\n"),
        ("RUN <<'E F'\n#!/bin/cat\nEOF\nE F", "#!/bin/cat\nEOF\n"),
        ("RUN <<'E F'\n#!/bin/cat\nE_F\nE_F_\nE F", "#!/bin/cat\nE_F\nE_F_\n"),
        ("RUN <<EOF\n#!/bin/cat\n{braces} {content}\nEOF", "#!/bin/cat\n{braces} {content}\n"),
        ("RUN <<EOF\nread x || echo nothing to read\nEOF", "nothing to read\n"),
        ("RUN sed s/a/b/ <<EOF\naa\nEOF", "ba\n"),
        ("RUN cat <<'EOF'\n$x\nEOF", "$x\n"),
        ("RUN cat - /dev/fd/3 <<A 3<<B\n1\nA\n2\nB", "1\n2\n"),
    ],
)
def test_a_heredoc_runs(body: str, expected: str, tmp_path: Path) -> None:
    argv = run(body).argv
    assert output(argv, tmp_path) == expected
    assert not list(tmp_path.iterdir())


def test_a_script_gives_its_exit_code(tmp_path: Path) -> None:
    argv = run("RUN <<EOF\n#!/bin/sh\nexit 7\nEOF").argv
    environment = {"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path)}
    assert subprocess.run(argv, env=environment, check=False).returncode == 7
    assert not list(tmp_path.iterdir())


def test_mounts_are_found_out() -> None:
    found = run(
        "ARG D=/d\nWORKDIR /w\n"
        "RUN --mount=type=cache,target=$D --mount=from=build,src=/out,target=in --mount=type=secret,id=t x"
    )
    assert found.mounts == (
        Mount("cache", "/d", id="/d"),
        Mount("bind", "/w/in", "out", Base("stage", "0"), read_only=True),
        Mount("secret", "/run/secrets/t", id="t", mode=0o400),
    )


@pytest.mark.parametrize(
    ("body", "network"),
    [
        ("RUN x", True),
        ("RUN --network=default x", True),
        ("RUN --network=none x", False),
        ("ARG N=none\nRUN --network=$N x", False),
        ("RUN --security=sandbox x", True),
    ],
)
def test_network(body: str, network: bool) -> None:
    assert run(body).network is network


@pytest.mark.parametrize(
    ("body", "message", "hint"),
    [
        ("RUN --network=host x", "RUN --network=host is not supported", "none"),
        ("RUN --network=hots x", "RUN --network has 'hots'", "default"),
        ("RUN --security=insecure x", "RUN --security=insecure is not supported", "rights"),
        ("RUN --security=no x", "RUN --security has 'no'", "sandbox"),
        ("RUN --device=gpu x", "RUN --device is not supported", "devices"),
        ("RUN --mount=type=ssh x", "type=ssh is not supported", "secret"),
        ("RUN --mount=type=cache,target=/x --mount=target=/x x", "two mounts are at /x", "own"),
        ("RUN --mount=from=scratch,target=/x x", "from=scratch has no files", "stage"),
        ("RUN --mount=source=gone,target=/x x", "there is no 'gone'", "context"),
        ("RUN --mount=type=cache,target=${X x", "", ""),
        ("RUN <<EOF\nEOF", "RUN has no command", "make"),
    ],
)
def test_what_is_wrong_has_its_place(body: str, message: str, hint: str) -> None:
    (problem,) = wrong(f"FROM a\nENV A=1\n{body}\n")
    assert problem.line == 3
    assert message in problem.message
    assert hint in problem.hint
