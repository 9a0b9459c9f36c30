"""The E2B requests about snapshots and forks."""

from typing import Annotated

from pydantic import Field

from berm.api.requests.common import Body, Query, Seconds, Text
from berm.control.references import Reference
from berm.store.snapshots import Wanted


class CreateSnapshot(Body):
    """POST /sandboxes/{sandboxID}/snapshots. `memory` is accepted: files are what a snapshot holds here."""

    name: Text | None = None
    memory: bool | None = None


class Fork(Body):
    """POST /sandboxes/{sandboxID}/fork."""

    timeout: Seconds | None = None
    count: Annotated[int, Field(ge=1, le=100)] = 1


class ListSnapshots(Query):
    """GET /snapshots, without its paging."""

    sandbox_id: Annotated[str | None, Field(alias="sandboxID")] = None
    name: Text | None = None

    def wanted(self) -> Wanted:
        """Raises BermError INVALID_ARGUMENT for a name that cannot be one."""
        if not self.name:
            return Wanted(self.sandbox_id)
        reference = Reference.parse(self.name)
        return Wanted(self.sandbox_id, reference.name, reference.tag if ":" in self.name else None)
