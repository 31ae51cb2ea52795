"""Runs migrations on the connection of the store, each in a transaction."""

from __future__ import annotations

from alembic import context

from controlplane.store.migrations import resuming as resuming  # registers itself with Alembic
from controlplane.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transaction_per_migration=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
