"""What waits in the logs of each host to be forwarded. Down: each host tells its own alone."""

from alembic import op
from sqlalchemy import BigInteger, Column, String, Text

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "spools",
        Column("store", String, primary_key=True),
        Column("spool", String, primary_key=True),
        Column("host", String, nullable=False),
        Column("rows", BigInteger, nullable=False),
        Column("bytes", BigInteger, nullable=False),
        Column("oldest_ms", BigInteger, nullable=False),
        Column("problem", Text),
    )


def downgrade() -> None:
    op.drop_table("spools")
