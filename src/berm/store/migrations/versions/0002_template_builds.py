"""What is recorded of builds, the layers they share, and the history of tags."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_IN_SETTINGS = ("env", "user", "workdir")

_NUMBERS = """
UPDATE builds SET number = (
    SELECT count(*) FROM builds AS earlier WHERE earlier.template_id = builds.template_id
    AND (earlier.created_at, earlier.build_id) <= (builds.created_at, builds.build_id)
)
"""
_LAST_NUMBERS = """
UPDATE templates SET last_number =
    (SELECT count(*) FROM builds WHERE builds.template_id = templates.template_id)
"""
_MOVES = """
INSERT INTO tag_moves (template_id, tag, build_id, number, moved_at, actor)
SELECT tags.template_id, tags.tag, tags.build_id, builds.number, tags.created_at, ''
FROM tags JOIN builds ON builds.build_id = tags.build_id ORDER BY tags.created_at
"""


def upgrade() -> None:
    _templates()
    _builds()
    _layers()
    _tag_moves()
    _tallies()
    _sandboxes()


def _templates() -> None:
    op.add_column("templates", sa.Column("last_number", sa.Integer, nullable=False, server_default="0"))
    op.add_column("templates", sa.Column("trial", sa.Boolean, nullable=False, server_default=sa.false()))
    op.execute(_LAST_NUMBERS)


def _builds() -> None:
    for column in _build_columns():
        op.add_column("builds", column)
    op.execute(_NUMBERS)
    op.create_index("ix_builds_template_id_number", "builds", ["template_id", "number"], unique=True)
    _fill_settings(op.get_bind())
    for name in _IN_SETTINGS:
        op.drop_column("builds", name)


def _build_columns() -> tuple[sa.Column[Any], ...]:
    # SQLite can only add a column, and only with a default; making a table anew deletes what refers to it.
    return (
        sa.Column("number", sa.Integer),
        sa.Column("trial", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("commit", sa.Text, nullable=False, server_default=""),
        sa.Column("actor", sa.Text, nullable=False, server_default=""),
        sa.Column("digest", sa.String, nullable=False, server_default=""),
        sa.Column("settings", sa.JSON, nullable=False, server_default="{}"),
        sa.Column("steps", sa.JSON, nullable=False, server_default="[]"),
        sa.Column("size", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("cause", sa.String),
        sa.Column("started_at", sa.DateTime(timezone=True)),
        sa.Column("duration_ms", sa.Integer),
    )


def _fill_settings(connection: sa.Connection) -> None:
    builds = sa.table(
        "builds",
        *map(sa.column, ("build_id", "user", "workdir")),
        *(sa.column(name, sa.JSON) for name in ("settings", "env")),
    )
    for row in connection.execute(sa.select(builds)).all():
        settings = {name: getattr(row, name) for name in _IN_SETTINGS}
        connection.execute(
            sa.update(builds).where(builds.c.build_id == row.build_id).values(settings=settings)
        )


def _layers() -> None:
    op.create_table(
        "layers",
        sa.Column("key", sa.String, nullable=False),
        sa.Column("team_id", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("duration_ms", sa.Integer, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["teams.team_id"], name="fk_layers_team_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("key", name="pk_layers"),
    )
    op.create_index("ix_layers_name", "layers", ["name"])
    op.create_index("ix_layers_team_id", "layers", ["team_id"])


def _tag_moves() -> None:
    op.create_table(
        "tag_moves",
        sa.Column("move_id", sa.Integer, nullable=False),
        sa.Column("template_id", sa.String, nullable=False),
        sa.Column("tag", sa.String, nullable=False),
        sa.Column("build_id", sa.String),
        sa.Column("number", sa.Integer),
        sa.Column("moved_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(
            ["template_id"], ["templates.template_id"], name="fk_tag_moves_template_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("move_id", name="pk_tag_moves"),
    )
    op.create_index("ix_tag_moves_template_id_tag", "tag_moves", ["template_id", "tag"])
    op.execute(_MOVES)


def _tallies() -> None:
    op.create_table(
        "tallies",
        sa.Column("team_id", sa.String, nullable=False),
        sa.Column("template", sa.String, nullable=False),
        sa.Column("outcome", sa.String, nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("builds", sa.Integer, nullable=False),
        sa.Column("cached_steps", sa.Integer, nullable=False),
        sa.Column("run_steps", sa.Integer, nullable=False),
        sa.ForeignKeyConstraint(
            ["team_id"], ["teams.team_id"], name="fk_tallies_team_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("team_id", "template", "outcome", name="pk_tallies"),
    )


def _sandboxes() -> None:
    op.add_column("sandboxes", sa.Column("build_id", sa.String, nullable=False, server_default=""))
    op.add_column("sandboxes", sa.Column("layers", sa.JSON, nullable=False, server_default="[]"))
    _fill_sandboxes(op.get_bind())


def _fill_sandboxes(connection: sa.Connection) -> None:
    """Until now a sandbox began with the newest build that was ready at that time."""
    sandboxes = sa.table(
        "sandboxes",
        *map(sa.column, ("sandbox_id", "template_id", "started_at", "build_id", "ended_at")),
        sa.column("layers", sa.JSON),
    )
    builds = sa.table(
        "builds",
        *map(sa.column, ("build_id", "template_id", "status", "finished_at")),
        sa.column("layers", sa.JSON),
    )
    live = sa.select(sandboxes).where(sandboxes.c.ended_at.is_(None))
    for row in connection.execute(live).all():
        ready = sa.select(builds).where(
            builds.c.template_id == row.template_id,
            builds.c.status == "ready",
            builds.c.finished_at <= row.started_at,
        )
        build = connection.execute(ready.order_by(builds.c.finished_at.desc()).limit(1)).first()
        if build:
            values = {"build_id": build.build_id, "layers": build.layers}
            where = sandboxes.c.sandbox_id == row.sandbox_id
            connection.execute(sa.update(sandboxes).where(where).values(values))
