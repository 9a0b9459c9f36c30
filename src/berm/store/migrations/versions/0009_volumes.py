"""Volumes, and what of them each sandbox has mounted."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "volumes",
        sa.Column("volume_id", sa.String),
        sa.Column("team_id", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("token", sa.String, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("volume_id", name="pk_volumes"),
        sa.ForeignKeyConstraint(
            ["team_id"], ["teams.team_id"], name="fk_volumes_team_id", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("team_id", "name", name="uq_volumes_team_id_name"),
    )
    op.add_column("sandboxes", sa.Column("volume_mounts", sa.JSON, nullable=False, server_default="[]"))
