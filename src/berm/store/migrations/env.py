"""How alembic reaches the database: through the connection that `berm.store.database.migrate` hands over."""

from alembic import context

from berm.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
