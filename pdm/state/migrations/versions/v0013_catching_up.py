"""Models whose twins are folded in the background until they speak. Down: they were never asked for."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, LargeBinary, String, Text

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.create_table(
        "catching_up",
        Column("class_name", String, primary_key=True),
        Column("version", String, nullable=False),
        Column("at_ms", BigInteger, nullable=False),
        Column("who", String, nullable=False),
        Column("reason", Text, nullable=False),
        Column("tick", BigInteger, nullable=False),
        Column("folded", Integer, nullable=False),
        Column("machines", Integer, nullable=False),
        Column("body", LargeBinary),
        Column("crc", BigInteger),
    )


def downgrade() -> None:
    op.drop_table("catching_up")
