import pytest

from berm.templates.findings import TOP, Findings, InstructionError, Position, nearest, shown
from berm.templates.problems import Problem, Severity

HERE = Position(3, 5)


def test_each_error_of_a_group_is_noted() -> None:
    findings = Findings()
    with findings.at("file", HERE):
        inner = ExceptionGroup("inner", [InstructionError("two"), InstructionError("three")])
        raise ExceptionGroup("outer", [InstructionError("one", "hint"), inner])
    with findings.at("file", TOP):
        raise InstructionError("zero")
    assert findings.all() == (
        Problem("file", 1, 1, "zero"),
        Problem("file", 3, 5, "one", "hint"),
        Problem("file", 3, 5, "three"),
        Problem("file", 3, 5, "two"),
    )


def test_other_errors_go_on() -> None:
    with pytest.raises(KeyError), Findings().at("file", HERE):
        raise KeyError("x")


def test_only_errors_are_failures() -> None:
    findings = Findings()
    findings.warn("file", HERE, "careful")
    assert not findings.failed
    assert findings.all()[0].severity is Severity.WARNING
    findings.error("file", HERE, "wrong")
    assert findings.failed


def test_a_problem_is_told_once() -> None:
    findings = Findings()
    findings.error("file", HERE, "wrong")
    findings.error("file", HERE, "wrong")
    assert len(findings.all()) == 1


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("wrokdir", "did you mean WORKDIR?"),
        ("COPPY", "did you mean COPY?"),
        ("zzz", "there are COPY, RUN, WORKDIR"),
    ],
)
def test_what_was_meant(text: str, hint: str) -> None:
    assert nearest(text, ["WORKDIR", "RUN", "COPY"]) == hint
    assert nearest(text, []) == ""


def test_long_text_is_cut() -> None:
    assert shown("a\nb") == r"'a\nb'"
    assert shown("x" * 1000) == repr("x" * 100 + "...")
