"""What Alembic runs: the migrations, on the connection and in the transaction that `migrate` gives it."""

from alembic import context

from pdm.state.schema import metadata

connection = context.config.attributes["connection"]
batches = connection.dialect.name == "sqlite"  # SQLite changes a table by making it again
context.configure(connection=connection, target_metadata=metadata, render_as_batch=batches)
with context.begin_transaction():
    context.run_migrations()
