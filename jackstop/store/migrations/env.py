"""What Alembic runs: the migrations, over the connection that `Store.migrate` hands in."""

from __future__ import annotations

from alembic import context

from jackstop.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
