"""Declared lives as the fleet has corrected them. Down: they are as declared again."""

from alembic import op
from sqlalchemy import BigInteger, Column, Float, Integer, String

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.create_table(
        "fleet_lives",
        Column("number", BigInteger, primary_key=True, autoincrement=False),
        Column("class_name", String, nullable=False),
        Column("mode", String, nullable=False),
        Column("from_ms", BigInteger, nullable=False),
        Column("declared_mean", Float, nullable=False),
        Column("declared_sd", Float, nullable=False),
        Column("mean", Float, nullable=False),
        Column("sd", Float, nullable=False),
        Column("failures", Integer, nullable=False),
        Column("censored", Integer, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("fleet_lives")
