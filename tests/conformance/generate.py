"""Requests made from the published interface, and what is demanded of every answer."""

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import hypothesis.strategies as st
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import CheckFunction
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from tests.conformance.interface import read
from tests.conformance.things import Things

_ASKED = os.environ.get("BERM_TEST_EXAMPLES")
EXAMPLES = int(_ASKED or "25")
"""Requests for each call and kind. The default makes the same each time; a number of yours others."""

OPERATIONS = [
    cast(Any, result).ok()
    for result in schemathesis.openapi.from_dict(read("api").openapi()).get_all_operations()
]
POSITIVE, NEGATIVE = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
CHECKS: list[CheckFunction] = [response_schema_conformance, content_type_conformance]

ANYWHERE = {
    400: "what is wrong with a request is said of every call",
    404: "what a path or a body names is not there",
    405: "a generated parameter made the path of another call",
    409: "what the call is about is in another state",
    413: "the body is too large",
    429: "a limit of the team",
    501: "a call, or a field of one, that is not offered",
    503: "there is no room",
}
"""Statuses that the published file names for some calls only, and when any call may answer with them."""


@dataclass
class Hammer:
    """Sends generated requests to a server."""

    url: str
    key: str
    things: Things
    seen: Counter[tuple[str, int]] = field(default_factory=Counter)
    """How often each call was answered with each status."""

    def __post_init__(self) -> None:
        self.session = requests.Session()
        self.session.headers["X-API-Key"] = self.key

    def strike(self, operation: Any, mode: schemathesis.GenerationMode, examples: int = EXAMPLES) -> None:
        """Raises AssertionError, or schemathesis' own failure, with the smallest request that shows it."""

        @_settings(examples)
        @given(case=operation.as_strategy(generation_mode=mode), real=st.booleans())
        def send(case: Any, real: bool) -> None:
            case.path_parameters = self.things.path(case.path_parameters or {}, real)
            case.body = self.things.body(operation.path, case.body, real)
            response = case.call(base_url=self.url, session=self.session)
            self.seen[operation.label, response.status_code] += 1
            check(case, response)

        send()

    def reached(self) -> set[str]:
        """The calls that were granted, or refused for who asks or for the state of things."""
        return {name for name, status in self.seen if status < 400 or status in (401, 403, 409)}

    def close(self) -> None:
        self.session.close()


def _settings(examples: int) -> Callable[[Any], Any]:
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=_ASKED is None,
        suppress_health_check=list(HealthCheck),
    )


def check(case: Any, response: Any) -> None:
    """An answer of the interface, or one that any call may give; errors have the body that SDKs need."""
    status = response.status_code
    declared = {int(code) for code in case.operation.definition.raw["responses"]}
    assert status in (declared - {500}) | ANYWHERE.keys(), f"{status}: {response.text}"
    if status >= 400:
        body = response.json()
        assert body["code"] == status, body
        assert body["message"], body
    else:
        case.validate_response(response, checks=CHECKS)
