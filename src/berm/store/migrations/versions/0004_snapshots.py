"""Which templates are snapshots, and of which sandbox each of their builds is."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("templates", sa.Column("snapshot", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("builds", sa.Column("snapshot_of", sa.String))
