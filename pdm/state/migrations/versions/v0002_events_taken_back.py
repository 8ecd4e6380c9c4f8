"""An event that is taken back keeps by whom, when and why.

What was taken back before counts as taken back when it was recorded. Down: it stays taken back, the rest is lost.
"""

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, String, Text, false, text

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    with op.batch_alter_table("events") as events:
        events.add_column(Column("voided_ms", BigInteger))
        events.add_column(Column("voided_by", String))
        events.add_column(Column("voided_reason", Text))
    op.execute(text("UPDATE events SET voided_ms = recorded_ms, voided_by = '', voided_reason = '' WHERE voided"))
    with op.batch_alter_table("events") as events:
        events.drop_column("voided")


def downgrade() -> None:
    with op.batch_alter_table("events") as events:
        events.add_column(Column("voided", Boolean, nullable=False, server_default=false()))
    op.execute(text("UPDATE events SET voided = true WHERE voided_ms IS NOT NULL"))
    with op.batch_alter_table("events") as events:
        events.alter_column("voided", server_default=None)
        for name in ("voided_ms", "voided_by", "voided_reason"):
            events.drop_column(name)
