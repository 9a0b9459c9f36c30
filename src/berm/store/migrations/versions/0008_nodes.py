"""What was set of nodes, and what went on in teams."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    instant = sa.DateTime(timezone=True)
    op.create_table(
        "nodes",
        sa.Column("node_id", sa.String, primary_key=True),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("changed_at", instant, nullable=False),
    )
    op.create_table(
        "team_metrics",
        sa.Column("team_id", sa.String, sa.ForeignKey("teams.team_id", ondelete="CASCADE"), primary_key=True),
        sa.Column("at", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("concurrent", sa.Integer, nullable=False),
        sa.Column("started", sa.Integer, nullable=False),
    )
    op.create_index("ix_team_metrics_at", "team_metrics", ["at"])
