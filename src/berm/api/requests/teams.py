"""Our own requests about teams."""

from typing import Annotated

from pydantic import Field

from berm.api.requests.common import Body, Name
from berm.models import Limits

_MOST = 1_000_000

Count = Annotated[int, Field(ge=0, le=_MOST)]


class TeamLimits(Body):
    """null is the server's default, 0 is no limit; what is left out stays as it is."""

    max_sandboxes: Count | None = None
    creation_rate: Count | None = None
    max_timeout: Annotated[int, Field(ge=1, le=10 * 365 * 86400)] | None = None

    def over(self, limits: Limits) -> Limits:
        """These in the place of those, as far as they were sent."""
        sent = self.model_fields_set
        return Limits(
            self.max_sandboxes if "max_sandboxes" in sent else limits.max_sandboxes,
            self.creation_rate if "creation_rate" in sent else limits.creation_rate,
            self.max_timeout if "max_timeout" in sent else limits.max_timeout,
        )


class NewTeam(TeamLimits):
    name: Name
