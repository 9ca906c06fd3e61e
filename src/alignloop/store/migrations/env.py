"""Runs migrations on the connection that `Store` gives; there is no other way to run them."""

from alembic import context

from alignloop.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
context.run_migrations()
