"""What has been forwarded to another store of readings. Down: forwarding begins anew, which counts nothing twice."""

from alembic import op
from sqlalchemy import JSON, BigInteger, Boolean, Column, LargeBinary, String, Text

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "forward_cursors",
        Column("store", String, primary_key=True),
        Column("cursor", Text, nullable=False),
    )
    op.create_table(
        "forwarded",
        Column("store", String, primary_key=True),
        Column("class_name", String, primary_key=True),
        Column("sensors", JSON, nullable=False),
        Column("rows", BigInteger, nullable=False),
        Column("late", BigInteger, nullable=False),
        Column("batches", BigInteger, nullable=False),
    )
    op.create_table(
        "reading_marks",
        Column("number", BigInteger, primary_key=True, autoincrement=False),
        Column("class_name", String, nullable=False, index=True),
        Column("body", LargeBinary, nullable=False),
        Column("crc", BigInteger, nullable=False),
    )
    op.create_table(
        "parked_blocks",
        Column("number", BigInteger, primary_key=True, autoincrement=False),
        Column("store", String, nullable=False),
        Column("class_name", String, nullable=False),
        Column("late", Boolean, nullable=False),
        Column("sensors", JSON, nullable=False),
        Column("why", Text, nullable=False),
        Column("parked_ms", BigInteger, nullable=False),
        Column("tried_ms", BigInteger, nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column("crc", BigInteger, nullable=False),
    )


def downgrade() -> None:
    for name in ("parked_blocks", "reading_marks", "forwarded", "forward_cursors"):
        op.drop_table(name)
