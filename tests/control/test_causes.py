import logging

import pytest

from berm.control.building import BaseError, FailedStepError
from berm.control.causes import ENDS, reason
from berm.control.starting import HealthError, StartError
from berm.control.steps import StepError
from berm.errors import BermError, Code
from berm.store.builds import Cause

BROKEN = BermError(Code.UNAVAILABLE, "no room", "wait")
FULL = BermError(Code.NO_SPACE, "the pool is full")


@pytest.mark.parametrize(
    ("error", "step", "cause"),
    [
        (BaseError(BermError(Code.NOT_FOUND, "no such image")), "base", Cause.BASE_IMAGE),
        (StepError("it failed", "2"), "2", Cause.STEP_FAILED),
        (FailedStepError(BROKEN, "3"), "3", Cause.STEP_FAILED),
        (StartError(Code.TIMED_OUT, "not ready"), "finalize", Cause.START_COMMAND),
        (HealthError(Code.INVALID_ARGUMENT, "not healthy"), "finalize", Cause.HEALTH_CHECK),
        (BROKEN, None, Cause.INTERNAL),
        (FULL, None, Cause.NO_SPACE),
        (BaseError(FULL), "base", Cause.NO_SPACE),
        (FailedStepError(FULL, "3"), "3", Cause.NO_SPACE),
        (StartError(Code.NO_SPACE, "the pool is full"), "finalize", Cause.NO_SPACE),
    ],
    ids=repr,
)
def test_what_is_recorded_of_an_error(error: BermError, step: str | None, cause: Cause) -> None:
    assert reason(error) == (str(error), step, cause)


def test_time_that_is_over_is_told_in_words() -> None:
    assert reason(TimeoutError()) == ("the build took longer than it may", None, Cause.TIMEOUT)


def test_a_fault_of_ours_tells_its_kind_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        assert reason(KeyError("hunter2")) == ("unexpected KeyError", None, Cause.INTERNAL)
    (record,) = caplog.records
    assert record.exc_info
    assert record.exc_info[0] is KeyError


def test_ends_that_are_no_errors_have_a_sentence() -> None:
    assert ENDS.keys() == {Cause.CANCELLED, Cause.INTERRUPTED}
    assert all(ENDS.values())
