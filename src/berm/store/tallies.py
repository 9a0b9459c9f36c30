"""Counts of builds by template and outcome, which outlive the builds and the templates."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, insert, select, update

from berm.store.schema import tallies, templates


@dataclass(frozen=True, slots=True)
class Tally:
    outcome: str
    """`ready`, or the cause of the failure."""
    builds: int
    cached_steps: int
    run_steps: int
    template: str = ""


def count(connection: Connection, template_id: str, tally: Tally, now: datetime) -> None:
    """Add to the counts of a template."""
    named = select(templates.c.team_id, templates.c.name).where(templates.c.template_id == template_id)
    team_id, name = connection.execute(named).one()
    row = {"team_id": team_id, "template": name, "outcome": tally.outcome}
    changed = update(tallies).filter_by(**row)
    more = {
        "builds": tallies.c.builds + tally.builds,
        "cached_steps": tallies.c.cached_steps + tally.cached_steps,
        "run_steps": tallies.c.run_steps + tally.run_steps,
    }
    if connection.execute(changed.values(more)).rowcount:
        return
    numbers = {name: getattr(tally, name) for name in more}
    connection.execute(insert(tallies), {**row, **numbers, "first_at": now})


def listing(connection: Connection, team_id: str, most: int) -> Sequence[Tally]:
    """Of a team's templates, each with its name; all but the `most` oldest have no name, nor have others'."""
    oldest = (
        select(tallies.c.template)
        .where(tallies.c.team_id == team_id)
        .group_by(tallies.c.template)
        .order_by(func.min(tallies.c.first_at), tallies.c.template)
        .limit(most)
    )
    named = set(connection.execute(oldest).scalars())
    sums = (
        func.sum(tallies.c.builds).label("builds"),
        func.sum(tallies.c.cached_steps).label("cached_steps"),
        func.sum(tallies.c.run_steps).label("run_steps"),
    )
    keys = (tallies.c.team_id, tallies.c.template, tallies.c.outcome)
    found: dict[tuple[str, str], Tally] = {}
    for row in connection.execute(select(*keys, *sums).group_by(*keys)):
        name = row.template if row.team_id == team_id and row.template in named else ""
        before = found.get((name, row.outcome), Tally(row.outcome, 0, 0, 0, name))
        found[name, row.outcome] = Tally(
            row.outcome,
            before.builds + row.builds,
            before.cached_steps + row.cached_steps,
            before.run_steps + row.run_steps,
            name,
        )
    return [found[key] for key in sorted(found)]
