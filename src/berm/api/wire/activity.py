"""The E2B answers about what goes on in a team, named after their schemas in the OpenAPI file."""

from berm.api.wire.common import Json
from berm.api.wire.usage import moment
from berm.control.activity import Moment
from berm.store.activity import Metric


def team_metric(found: Moment) -> Json:
    """`TeamMetric`."""
    return {
        **moment(found.at),
        "concurrentSandboxes": found.concurrent,
        "sandboxStartRate": found.start_rate,
    }


def max_team_metric(found: Moment, metric: Metric) -> Json:
    """`MaxTeamMetric`."""
    return {**moment(found.at), "value": found.concurrent if metric == "concurrent" else found.start_rate}
