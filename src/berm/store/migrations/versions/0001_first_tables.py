"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    _teams()
    _api_keys()
    _templates()
    _builds()
    _build_logs()
    _tags()
    _sandboxes()


def _teams() -> None:
    op.create_table(
        "teams",
        sa.Column("team_id", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("team_id", name="pk_teams"),
    )


def _api_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("key_id", sa.String, nullable=False),
        sa.Column("team_id", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("prefix", sa.String, nullable=False),
        sa.Column("suffix", sa.String, nullable=False),
        sa.Column("length", sa.Integer, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used", sa.DateTime(timezone=True)),
        sa.ForeignKeyConstraint(
            ["team_id"], ["teams.team_id"], name="fk_api_keys_team_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("key_id", name="pk_api_keys"),
        sa.UniqueConstraint("digest", name="uq_api_keys_digest"),
    )
    op.create_index("ix_api_keys_team_id", "api_keys", ["team_id"])


def _templates() -> None:
    op.create_table(
        "templates",
        sa.Column("template_id", sa.String, nullable=False),
        sa.Column("team_id", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("public", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_spawned_at", sa.DateTime(timezone=True)),
        sa.Column("spawn_count", sa.Integer, nullable=False),
        sa.ForeignKeyConstraint(
            ["team_id"], ["teams.team_id"], name="fk_templates_team_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("template_id", name="pk_templates"),
        sa.UniqueConstraint("team_id", "name", name="uq_templates_team_id_name"),
    )
    op.create_index("ix_templates_name", "templates", ["name"])


def _builds() -> None:
    op.create_table(
        "builds",
        sa.Column("build_id", sa.String, nullable=False),
        sa.Column("template_id", sa.String, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("tags", sa.JSON, nullable=False),
        sa.Column("cpu_count", sa.Integer, nullable=False),
        sa.Column("memory_mb", sa.Integer, nullable=False),
        sa.Column("disk_mb", sa.Integer, nullable=False),
        sa.Column("pids", sa.Integer, nullable=False),
        sa.Column("layers", sa.JSON, nullable=False),
        sa.Column("env", sa.JSON, nullable=False),
        sa.Column("user", sa.String, nullable=False),
        sa.Column("workdir", sa.String, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("reason_step", sa.String),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.ForeignKeyConstraint(
            ["template_id"], ["templates.template_id"], name="fk_builds_template_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("build_id", name="pk_builds"),
    )
    op.create_index("ix_builds_template_id_created_at", "builds", ["template_id", "created_at"])


def _build_logs() -> None:
    op.create_table(
        "build_logs",
        sa.Column("build_id", sa.String, nullable=False),
        sa.Column("line", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("timestamp", sa.DateTime(timezone=True), nullable=False),
        sa.Column("level", sa.String, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("step", sa.String),
        sa.ForeignKeyConstraint(
            ["build_id"], ["builds.build_id"], name="fk_build_logs_build_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("build_id", "line", name="pk_build_logs"),
    )


def _tags() -> None:
    op.create_table(
        "tags",
        sa.Column("template_id", sa.String, nullable=False),
        sa.Column("tag", sa.String, nullable=False),
        sa.Column("build_id", sa.String, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["build_id"], ["builds.build_id"], name="fk_tags_build_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["template_id"], ["templates.template_id"], name="fk_tags_template_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("template_id", "tag", name="pk_tags"),
    )
    op.create_index("ix_tags_build_id", "tags", ["build_id"])


def _sandboxes() -> None:
    op.create_table(
        "sandboxes",
        sa.Column("sandbox_id", sa.String, nullable=False),
        sa.Column("team_id", sa.String, nullable=False),
        sa.Column("template_id", sa.String, nullable=False),
        sa.Column("template_name", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("end_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("cpu_count", sa.Integer, nullable=False),
        sa.Column("memory_mb", sa.Integer, nullable=False),
        sa.Column("disk_mb", sa.Integer, nullable=False),
        sa.Column("pids", sa.Integer, nullable=False),
        sa.Column("metadata", sa.JSON, nullable=False),
        sa.Column("access_token", sa.String),
        sa.Column("allow_internet", sa.Boolean),
        sa.Column("idempotency_key", sa.String),
        sa.Column("request_digest", sa.String),
        sa.ForeignKeyConstraint(
            ["team_id"], ["teams.team_id"], name="fk_sandboxes_team_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("sandbox_id", name="pk_sandboxes"),
        sa.UniqueConstraint("team_id", "idempotency_key", name="uq_sandboxes_team_id_idempotency_key"),
    )
    op.create_index("ix_sandboxes_end_at", "sandboxes", ["end_at"])
    op.create_index("ix_sandboxes_ended_at", "sandboxes", ["ended_at"])
    op.create_index("ix_sandboxes_team_id_started_at", "sandboxes", ["team_id", "started_at"])
