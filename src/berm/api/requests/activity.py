"""The E2B requests about what goes on in a team."""

from typing import Final, Literal

from pydantic import Field

from berm.api.requests.usage import Interval
from berm.store.activity import Metric

_METRICS: Final[dict[str, Metric]] = {"concurrent_sandboxes": "concurrent", "sandbox_start_rate": "started"}


class Most(Interval):
    """GET /teams/{teamID}/metrics/max."""

    of: Literal["concurrent_sandboxes", "sandbox_start_rate"] = Field(alias="metric")

    @property
    def metric(self) -> Metric:
        return _METRICS[self.of]
