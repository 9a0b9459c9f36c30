"""Why builds fail: what is recorded of each error."""

import logging
from typing import Final

from berm.control.building import BaseError, FailedStepError, PlanError
from berm.control.starting import HealthError, StartError
from berm.control.steps import StepError
from berm.errors import BermError, Code
from berm.store.builds import Cause

log = logging.getLogger(__name__)

ENDS: Final = {
    Cause.CANCELLED: "the build was cancelled",
    Cause.INTERRUPTED: "the server stopped during the build; what was finished is kept for the next",
}

_LAST_STEP: Final = "finalize"

_CAUSES: Final[tuple[tuple[type[Exception], Cause, str | None], ...]] = (
    (TimeoutError, Cause.TIMEOUT, None),
    (BaseError, Cause.BASE_IMAGE, None),
    (PlanError, Cause.DEFINITION, None),
    (StartError, Cause.START_COMMAND, _LAST_STEP),
    (HealthError, Cause.HEALTH_CHECK, _LAST_STEP),
    (StepError, Cause.STEP_FAILED, None),
    (FailedStepError, Cause.STEP_FAILED, None),
    (BermError, Cause.INTERNAL, None),
)
"""The first row that fits counts; the step is the error's own where the row has none."""


def reason(error: Exception) -> tuple[str, str | None, Cause]:
    """What is recorded of a failure: the sentence, the step, the cause."""
    for kind, cause, step in _CAUSES:
        if isinstance(error, kind):
            return _sentence(error), step or getattr(error, "step", None), _full(error) or cause
    log.error("a build failed", exc_info=error)
    return f"unexpected {type(error).__name__}", None, Cause.INTERNAL


def _sentence(error: Exception) -> str:
    return "the build took longer than it may" if isinstance(error, TimeoutError) else str(error)


def _full(error: Exception) -> Cause | None:
    """A full disk is its own cause, whoever met it."""
    full = isinstance(error, BermError) and error.code is Code.NO_SPACE
    return Cause.NO_SPACE if full else None
