"""How far twins and prognoses have been projected to another store. Down: all prognoses are sent again."""

from alembic import op
from sqlalchemy import BigInteger, Column, String

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "projected",
        Column("store", String, primary_key=True),
        Column("series", String, primary_key=True),
        Column("tick", BigInteger, nullable=False),
    )
    op.create_index("prognoses_by_tick", "prognoses", ["tick"])


def downgrade() -> None:
    op.drop_index("prognoses_by_tick", "prognoses")
    op.drop_table("projected")
