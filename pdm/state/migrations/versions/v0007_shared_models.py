"""Trained models for processes on other hosts. Down: they are left to the folders that they came from."""

from alembic import op
from sqlalchemy import Column, LargeBinary, String

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "model_files",
        Column("class_name", String, primary_key=True),
        Column("version", String, primary_key=True),
        Column("name", String, primary_key=True),
        Column("body", LargeBinary, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("model_files")
