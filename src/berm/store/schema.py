"""The tables. Migrations make them; a test holds the two together."""

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    true,
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
    # Limits of its own; without one the server's default holds.
    Column("max_sandboxes", Integer),
    Column("creation_rate", Integer),
    Column("max_timeout", Integer),
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
    Column("kind", String, nullable=False, server_default="api_key"),
)

# What is sealed is the value of the current version, under the key of that name, which is in no database.
secrets = Table(
    "secrets",
    metadata,
    Column("secret_id", String, primary_key=True),
    Column("team_id", ForeignKey("teams.team_id", ondelete="CASCADE"), nullable=False),
    Column("name", String, nullable=False),
    Column("version", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("sealed_by", String, nullable=False),
    Column("metadata", JSON, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    UniqueConstraint("team_id", "name"),
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
    Column("last_number", Integer, nullable=False, server_default="0"),
    Column("trial", Boolean, nullable=False, server_default=false()),
    Column("snapshot", Boolean, nullable=False, server_default=false()),
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
    Column("reason", Text),
    Column("reason_step", String),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("finished_at", Instant),
    Column("number", Integer),
    Column("trial", Boolean, nullable=False, server_default=false()),
    Column("commit", Text, nullable=False, server_default=""),
    Column("actor", Text, nullable=False, server_default=""),
    Column("digest", String, nullable=False, server_default=""),
    Column("settings", JSON, nullable=False, server_default="{}"),
    Column("steps", JSON, nullable=False, server_default="[]"),
    Column("size", BigInteger, nullable=False, server_default="0"),
    Column("cause", String),
    Column("started_at", Instant),
    Column("duration_ms", Integer),
    Column("snapshot_of", String),
    Index(None, "template_id", "created_at"),
    Index(None, "template_id", "number", unique=True),
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

# build_id refers to no table: the history of a tag outlives its builds. Without one the tag was removed.
tag_moves = Table(
    "tag_moves",
    metadata,
    Column("move_id", Integer, primary_key=True),
    Column("template_id", ForeignKey("templates.template_id", ondelete="CASCADE"), nullable=False),
    Column("tag", String, nullable=False),
    Column("build_id", String),
    Column("number", Integer),
    Column("moved_at", Instant, nullable=False),
    Column("actor", Text, nullable=False),
    Index(None, "template_id", "tag"),
)

layers = Table(
    "layers",
    metadata,
    Column("key", String, primary_key=True),
    Column("team_id", ForeignKey("teams.team_id", ondelete="CASCADE"), nullable=False, index=True),
    Column("name", String, nullable=False, index=True),
    Column("size", BigInteger, nullable=False),
    Column("duration_ms", Integer, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("used_at", Instant, nullable=False),
)

# By name: a count never goes down, though builds and templates are deleted.
tallies = Table(
    "tallies",
    metadata,
    Column("team_id", ForeignKey("teams.team_id", ondelete="CASCADE"), primary_key=True),
    Column("template", String, primary_key=True),
    Column("outcome", String, primary_key=True),
    Column("first_at", Instant, nullable=False),
    Column("builds", Integer, nullable=False),
    Column("cached_steps", Integer, nullable=False),
    Column("run_steps", Integer, nullable=False),
)

volumes = Table(
    "volumes",
    metadata,
    Column("volume_id", String, primary_key=True),
    Column("team_id", ForeignKey("teams.team_id", ondelete="CASCADE"), nullable=False),
    Column("name", String, nullable=False),
    Column("token", String, nullable=False),
    Column("created_at", Instant, nullable=False),
    UniqueConstraint("team_id", "name"),
)

# template_id and build_id refer to no table: a sandbox outlives its template.
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
    Column("build_id", String, nullable=False, server_default=""),
    Column("layers", JSON, nullable=False, server_default="[]"),
    Column("boot", JSON, nullable=False, server_default="{}"),
    Column("on_timeout", String, nullable=False, server_default="kill"),
    Column("auto_pause_memory", Boolean, nullable=False, server_default=true()),
    Column("auto_resume", Boolean, nullable=False, server_default=false()),
    Column("lifetime", Integer, nullable=False, server_default="0"),
    Column("generation", Integer, nullable=False, server_default="0"),
    Column("keeps_memory", Boolean, nullable=False, server_default=false()),
    Column("traffic_token", String),
    Column("mask_host", String, nullable=False, server_default=""),
    Column("https_ports", JSON, nullable=False, server_default="[]"),
    Column("network", JSON, nullable=False, server_default="{}"),
    Column("volume_mounts", JSON, nullable=False, server_default="[]"),
    UniqueConstraint("team_id", "idempotency_key"),
    Index(None, "team_id", "started_at"),
    Index(None, "end_at"),
)

# Nodes whose status was ever set; any other is ready.
nodes = Table(
    "nodes",
    metadata,
    Column("node_id", String, primary_key=True),
    Column("status", String, nullable=False),
    Column("changed_at", Instant, nullable=False),
)

# What went on in a team in the step that begins at `at`, in seconds since 1970; without a row nothing did.
team_metrics = Table(
    "team_metrics",
    metadata,
    Column("team_id", ForeignKey("teams.team_id", ondelete="CASCADE"), primary_key=True),
    Column("at", BigInteger, primary_key=True, autoincrement=False, index=True),
    Column("concurrent", Integer, nullable=False),
    Column("started", Integer, nullable=False),
)
