"""The tables. Migrations make them; a test holds the two together."""

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.types import TypeDecorator

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Instant(TypeDecorator[datetime]):
    """An aware datetime, kept as UTC also where the database knows no time zones (SQLite)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=value.tzinfo or UTC).astimezone(UTC)


teams = Table(
    "teams",
    metadata,
    Column("team_id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("created_at", Instant, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", String, primary_key=True),
    Column("team_id", ForeignKey("teams.team_id", ondelete="CASCADE"), nullable=False, index=True),
    Column("name", String, nullable=False),
    Column("digest", String, nullable=False, unique=True),
    Column("prefix", String, nullable=False),
    Column("suffix", String, nullable=False),
    Column("length", Integer, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("last_used", Instant),
)

templates = Table(
    "templates",
    metadata,
    Column("template_id", String, primary_key=True),
    Column("team_id", ForeignKey("teams.team_id", ondelete="CASCADE"), nullable=False),
    Column("name", String, nullable=False, index=True),
    Column("public", Boolean, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("last_spawned_at", Instant),
    Column("spawn_count", Integer, nullable=False),
    UniqueConstraint("team_id", "name"),
)

builds = Table(
    "builds",
    metadata,
    Column("build_id", String, primary_key=True),
    Column("template_id", ForeignKey("templates.template_id", ondelete="CASCADE"), nullable=False),
    Column("status", String, nullable=False),
    Column("tags", JSON, nullable=False),
    Column("cpu_count", Integer, nullable=False),
    Column("memory_mb", Integer, nullable=False),
    Column("disk_mb", Integer, nullable=False),
    Column("pids", Integer, nullable=False),
    Column("layers", JSON, nullable=False),
    Column("env", JSON, nullable=False),
    Column("user", String, nullable=False),
    Column("workdir", String, nullable=False),
    Column("reason", Text),
    Column("reason_step", String),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("finished_at", Instant),
    Index(None, "template_id", "created_at"),
)

build_logs = Table(
    "build_logs",
    metadata,
    Column("build_id", ForeignKey("builds.build_id", ondelete="CASCADE"), primary_key=True),
    Column("line", Integer, primary_key=True, autoincrement=False),
    Column("timestamp", Instant, nullable=False),
    Column("level", String, nullable=False),
    Column("message", Text, nullable=False),
    Column("step", String),
)

tags = Table(
    "tags",
    metadata,
    Column("template_id", ForeignKey("templates.template_id", ondelete="CASCADE"), primary_key=True),
    Column("tag", String, primary_key=True),
    Column("build_id", ForeignKey("builds.build_id", ondelete="CASCADE"), nullable=False, index=True),
    Column("created_at", Instant, nullable=False),
)

# template_id refers to no table: a sandbox outlives its template.
sandboxes = Table(
    "sandboxes",
    metadata,
    Column("sandbox_id", String, primary_key=True),
    Column("team_id", ForeignKey("teams.team_id", ondelete="CASCADE"), nullable=False),
    Column("template_id", String, nullable=False),
    Column("template_name", String, nullable=False),
    Column("state", String, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("end_at", Instant, nullable=False),
    Column("ended_at", Instant, index=True),
    Column("cpu_count", Integer, nullable=False),
    Column("memory_mb", Integer, nullable=False),
    Column("disk_mb", Integer, nullable=False),
    Column("pids", Integer, nullable=False),
    Column("metadata", JSON, nullable=False),
    Column("access_token", String),
    Column("allow_internet", Boolean),
    Column("idempotency_key", String),
    Column("request_digest", String),
    UniqueConstraint("team_id", "idempotency_key"),
    Index(None, "team_id", "started_at"),
    Index(None, "end_at"),
)
