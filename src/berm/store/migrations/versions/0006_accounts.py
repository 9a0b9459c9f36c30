"""Secrets, access tokens, and limits of teams."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_LIMITS = ("max_sandboxes", "creation_rate", "max_timeout")


def upgrade() -> None:
    for name in _LIMITS:
        op.add_column("teams", sa.Column(name, sa.Integer))
    op.add_column("api_keys", sa.Column("kind", sa.String, nullable=False, server_default="api_key"))
    _secrets()


def _secrets() -> None:
    op.create_table(
        "secrets",
        sa.Column("secret_id", sa.String, nullable=False),
        sa.Column("team_id", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("sealed_by", sa.String, nullable=False),
        sa.Column("metadata", sa.JSON, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["team_id"], ["teams.team_id"], name="fk_secrets_team_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("secret_id", name="pk_secrets"),
        sa.UniqueConstraint("team_id", "name", name="uq_secrets_team_id_name"),
    )
