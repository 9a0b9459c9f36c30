import json
from dataclasses import asdict
from typing import Any

import pytest

from berm.errors import BermError, Code
from berm.templates.decode import decode
from berm.templates.plan import (
    Account,
    Base,
    Copy,
    Directory,
    Health,
    Inline,
    Mount,
    Plan,
    Run,
    Settings,
    Stage,
    Step,
)

ACTIONS = (
    Run(("sh", "-c", "x"), env={"A": "b"}, mounts=(Mount("bind", "/x", base=Base("stage", "0")),)),
    Copy(("a", "b*"), "/c/", inline=(Inline("EOF", "content\n"),), mode=0o755),
    Directory("/d", "user"),
    Account("someone"),
    None,
)
PLAN = Plan(
    stages=(Stage("one", Base("image", "x", "sha256:0"), tuple(Step("text", action=a) for a in ACTIONS)),),
    settings=Settings(labels={"l": "\U0001f600"}, health=Health(("true",), interval=0.5)),
    provision="first",
)


def wire() -> dict[str, Any]:
    made: dict[str, Any] = json.loads(json.dumps(asdict(PLAN)))
    return made


def test_a_plan_comes_back_as_it_was() -> None:
    assert decode(Plan, wire(), "plan") == PLAN


def test_what_has_a_default_may_be_left_out() -> None:
    assert decode(Plan, {"stages": [{"name": "a", "base": {"kind": "scratch"}}]}, "plan") == Plan(
        (Stage("a", Base("scratch")),)
    )


STEP = ("stages", 0, "steps", 0)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("nope",), 1, "plan.nope is not a field that is known"),
        (("stages",), {}, "plan.stages is {}, which is not a list"),
        (("version",), True, "plan.version is True, which is not a whole number"),
        (("version",), 1.0, "plan.version is 1.0, which is not a whole number"),
        (("force",), 1, "plan.force is 1, which is not true or false"),
        (("provision",), "never", "plan.provision is 'never', which is not one of 'first', 'last'"),
        (("settings",), None, "plan.settings is None, which is not an object"),
        (("settings", "labels"), [], "plan.settings.labels is [], which is not an object"),
        (("settings", "labels", "l"), 1, "plan.settings.labels.l is 1, which is not text"),
        (
            ("settings", "health", "interval"),
            "1",
            "plan.settings.health.interval is '1', which is not a number",
        ),
        ((*STEP, "action", "argv"), "sh", "plan.stages.0.steps.0.action.argv is 'sh', which is not a list"),
        (
            (*STEP, "action", "argv", 1),
            None,
            "plan.stages.0.steps.0.action.argv.1 is None, which is not text",
        ),
        ((*STEP, "action", "sources"), [], "plan.stages.0.steps.0.action.sources is not a field"),
        ((*STEP, "action", "kind"), "go", "action.kind is 'go', which is not one of 'run', 'copy'"),
        ((*STEP, "text"), "a\0b", "which is not text without NUL"),
        ((*STEP, "text"), "\udcff", "which is not text that UTF-8 can hold"),
        ((*STEP, "text"), ["x" * 200], "plan.stages.0.steps.0.text is ['xxx"),
    ],
)
def test_a_mistake_is_named(path: tuple[str | int, ...], value: object, message: str) -> None:
    made = wire()
    place: Any = made
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    with pytest.raises(BermError) as failure:
        decode(Plan, made, "plan")
    assert failure.value.code is Code.INVALID_ARGUMENT
    assert message in str(failure.value)
    assert len(str(failure.value)) < 250


def test_a_field_that_is_missing_is_named() -> None:
    with pytest.raises(BermError, match=r"plan\.stages is missing"):
        decode(Plan, {}, "plan")
    with pytest.raises(BermError, match=r"plan\.stages\.0\.base is missing"):
        decode(Plan, {"stages": [{"name": "a"}]}, "plan")


@pytest.mark.parametrize("key", ["a\0", "\ud800"])
def test_names_are_text_as_well(key: str) -> None:
    made = wire()
    made["settings"]["env"] = {key: ""}
    with pytest.raises(BermError, match=r"plan\.settings\.env is"):
        decode(Plan, made, "plan")
