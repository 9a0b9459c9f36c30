"""What a sandbox needs to be paused and to go on."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    # Of sandboxes that run by then the environment is not known: they can be paused with their memory only.
    for column in (
        sa.Column("boot", sa.JSON, nullable=False, server_default="{}"),
        sa.Column("on_timeout", sa.String, nullable=False, server_default="kill"),
        sa.Column("auto_pause_memory", sa.Boolean, nullable=False, server_default=sa.true()),
        sa.Column("auto_resume", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("lifetime", sa.Integer, nullable=False, server_default="0"),
        sa.Column("generation", sa.Integer, nullable=False, server_default="0"),
        sa.Column("keeps_memory", sa.Boolean, nullable=False, server_default=sa.false()),
    ):
        op.add_column("sandboxes", column)
