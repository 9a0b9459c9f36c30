"""Our own answers about teams."""

from berm.api.wire.common import Json, instant
from berm.control.teams import Standing
from berm.models import Limits


def team(standing: Standing) -> Json:
    """`limits` are the team's own, null where it has none; `inForce` is what holds, 0 where nothing does."""
    return {
        "teamID": standing.team.team_id,
        "name": standing.team.name,
        "createdAt": instant(standing.team.created_at),
        "running": standing.running,
        "limits": _limits(standing.team.limits),
        "inForce": _limits(standing.in_force),
    }


def _limits(limits: Limits) -> Json:
    return {
        "maxSandboxes": limits.max_sandboxes,
        "creationRate": limits.creation_rate,
        "maxTimeout": limits.max_timeout,
    }
