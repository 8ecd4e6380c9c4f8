"""Which model of a class is active, with every one before it. Down: the newest usable one is used."""

from alembic import op
from sqlalchemy import BigInteger, Column, String, Text

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_table(
        "activations",
        Column("number", BigInteger, primary_key=True, autoincrement=False),
        Column("class_name", String, nullable=False),
        Column("version", String, nullable=False),
        Column("at_ms", BigInteger, nullable=False),
        Column("who", String, nullable=False),
        Column("reason", Text, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("activations")
