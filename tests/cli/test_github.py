import subprocess
import sys
from pathlib import Path

import pytest

from berm.cli import github, output
from berm.config import Runner, load_runner
from berm.templates.problems import Problem, Severity

JOB = Runner(active=True)


def problem(message: str = "wrong", file: str = "e2b/Dockerfile", **more: str) -> Problem:
    return Problem(file, 3, 5, message, more.get("hint", ""), Severity(more.get("severity", "error")))


def test_a_job_of_github_is_known_by_its_variable() -> None:
    environ = {"GITHUB_ACTIONS": "true", "GITHUB_ACTOR": "octocat", "GITHUB_STEP_SUMMARY": "/s"}
    assert load_runner(environ) == Runner(active=True, actor="octocat", summary="/s")
    assert load_runner({"GITHUB_ACTOR": "octocat"}) == Runner()


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (problem(), "::error file=e2b/Dockerfile,line=3,col=5,title=berm template::wrong"),
        (
            problem(severity="warning"),
            "::warning file=e2b/Dockerfile,line=3,col=5,title=berm template::wrong",
        ),
        (
            problem(hint="do"),
            "::error file=e2b/Dockerfile,line=3,col=5,title=berm template::wrong%0AHint: do",
        ),
        (
            problem("50%\n::set-output x::y"),
            "::error file=e2b/Dockerfile,line=3,col=5,title=berm template::50%25%0A::set-output x::y",
        ),
        (problem(file="a,b:c%"), "::error file=a%2Cb%3Ac%25,line=3,col=5,title=berm template::wrong"),
    ],
)
def test_an_annotation_is_one_line_whatever_is_in_it(found: Problem, expected: str) -> None:
    assert github.annotation(found, JOB) == expected


def test_an_annotation_names_the_file_as_the_repository_has_it(tmp_path: Path) -> None:
    runner = Runner(active=True, workspace=str(tmp_path))
    assert "file=e2b/Dockerfile," in github.annotation(problem(file=str(tmp_path / "e2b/Dockerfile")), runner)


def test_what_others_print_is_no_command_and_annotations_are(capfd: pytest.CaptureFixture[str]) -> None:
    with github.Job(JOB) as job:
        job.annotate([problem()])
        output.line("::set-env name=PATH::/evil")
    said = capfd.readouterr()
    begin, end, annotation = said.err.splitlines()
    token = begin.removeprefix("::stop-commands::")
    assert len(token) == 32
    assert end == f"::{token}::"
    assert annotation.startswith("::error file=e2b/Dockerfile")
    assert said.out == "::set-env name=PATH::/evil\n"


def test_what_is_printed_reaches_the_runner_before_it_takes_commands_again() -> None:
    code = "from berm.cli import github, output; from berm.config import Runner\n"
    code += "with github.Job(Runner(active=True)): output.line('::warning::x')"
    command = [sys.executable, "-c", code]
    said = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
    ).stdout
    assert [line[:4] for line in said.splitlines()][:2] == ["::st", "::wa"]


def test_nothing_is_printed_outside_of_github(capsys: pytest.CaptureFixture[str]) -> None:
    with github.Job(Runner()) as job:
        job.annotate([problem()])
        job.summarize("text")
    assert capsys.readouterr() == ("", "")


def test_the_summary_is_appended(tmp_path: Path) -> None:
    job = github.Job(Runner(active=True, summary=str(tmp_path / "summary")))
    job.summarize("one")
    job.summarize("two")
    assert (tmp_path / "summary").read_text() == "one\ntwo\n"


@pytest.mark.parametrize(
    "text", ["a|b", "[x](javascript:y)", "<img src=x>", "a\n| b", "@octocat", "`", "http://x"]
)
def test_a_cell_is_only_text(text: str) -> None:
    table = github.markdown_table(["a"], [[text]])
    cell = table.splitlines()[2].removeprefix("| ").removesuffix(" |")
    assert len(table.splitlines()) == 3
    assert not set(cell) & set("|[]()<>`@:")
