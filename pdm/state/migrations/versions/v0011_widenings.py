"""By how much the bands of a model are widened, and since when. Down: bands are as models say them."""

from alembic import op
from sqlalchemy import BigInteger, Column, Float, Integer, String

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.create_table(
        "widenings",
        Column("number", BigInteger, primary_key=True, autoincrement=False),
        Column("class_name", String, nullable=False),
        Column("model", String, nullable=False),
        Column("from_ms", BigInteger, nullable=False),
        Column("factor", Float, nullable=False),
        Column("lives", Integer, nullable=False),
        Column("coverage", Float, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("widenings")
