"""How requests from outside reach the ports of a sandbox."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("sandboxes", sa.Column("traffic_token", sa.String))
    op.add_column("sandboxes", sa.Column("mask_host", sa.String, nullable=False, server_default=""))
    op.add_column("sandboxes", sa.Column("https_ports", sa.JSON, nullable=False, server_default="[]"))
