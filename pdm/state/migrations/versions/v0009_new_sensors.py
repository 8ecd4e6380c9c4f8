"""An event may name a sensor. Down: what was reported of sensors is lost."""

from alembic import op
from sqlalchemy import Column, String, text

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    with op.batch_alter_table("events") as events:
        events.add_column(Column("sensor", String))


def downgrade() -> None:
    op.execute(text("DELETE FROM events WHERE kind = 'sensor_replaced'"))
    with op.batch_alter_table("events") as events:
        events.drop_column("sensor")
