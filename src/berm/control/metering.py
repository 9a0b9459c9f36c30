"""What Prometheus is told: this process's measurements and what the database knows at that moment."""

from sqlalchemy import Connection

from berm.node.interface import Node
from berm.observability.metrics import MOST_TEMPLATES, OTHERS, BuildCount, Metrics, Snapshot
from berm.store import history, tallies
from berm.store.builds import Status
from berm.store.database import Database
from berm.store.tallies import Tally


class Metering:
    """A team sees its own templates by name; those of others are counted together."""

    def __init__(self, database: Database, node: Node, metrics: Metrics) -> None:
        self._database = database
        self._node = node
        self._metrics = metrics

    async def render(self, team_id: str) -> bytes:
        """The metrics in Prometheus' text format."""
        running, paused = len(self._node.running()), len(self._node.paused())
        return self._metrics.render(await self._database.run(_snapshot, team_id, running, paused))


def _snapshot(connection: Connection, team_id: str, running: int, paused: int) -> Snapshot:
    counts = tallies.listing(connection, team_id, MOST_TEMPLATES)
    named = {tally.template for tally in counts if tally.template}
    return Snapshot(
        sandboxes=running,
        paused=paused,
        builds=[_count(tally) for tally in counts],
        unfinished=history.unfinished(connection),
        deployments=[last for last in history.deployed(connection, team_id) if last.template in named],
    )


def _count(tally: Tally) -> BuildCount:
    ready = tally.outcome == Status.READY
    return BuildCount(
        template=tally.template or OTHERS,
        status=Status.READY if ready else Status.ERROR,
        cause="" if ready else tally.outcome,
        builds=tally.builds,
        cached_steps=tally.cached_steps,
        run_steps=tally.run_steps,
    )
