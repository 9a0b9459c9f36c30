"""The E2B requests about nodes."""

from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import Field

from berm.api.requests.common import Body, Query
from berm.errors import BermError, Code
from berm.models import NodeStatus

CLUSTER: Final = UUID(int=0)
"""The only cluster there is."""

_FOUND: Final = ("connecting", "unhealthy")


class InCluster(Query):
    cluster_id: Annotated[UUID | None, Field(alias="clusterID")] = None

    @property
    def exists(self) -> bool:
        return self.cluster_id in (None, CLUSTER)


class StatusChange(Body):
    """POST /nodes/{nodeID}."""

    status: Literal["ready", "draining", "connecting", "unhealthy", "standby"]
    cluster_id: Annotated[UUID | None, Field(alias="clusterID", strict=False)] = None

    def wanted(self) -> NodeStatus:
        """Raises BermError CONFLICT for what a node is found to be, and is not told."""
        if self.status in _FOUND:
            raise BermError(
                Code.CONFLICT,
                f"status is {self.status!r}, which no node is told to be",
                f"send one of {', '.join(NodeStatus)}",
            )
        return NodeStatus(self.status)
