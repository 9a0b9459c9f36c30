"""What a sandbox may reach outside."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("sandboxes", sa.Column("network", sa.JSON, nullable=False, server_default="{}"))
