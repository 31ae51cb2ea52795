"""Webhooks, and the outbox of events for them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "webhook",
        sa.Column("name", sa.String(63), primary_key=True),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("author", sa.String(190), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
    )
    op.create_table(
        "delivery",
        sa.Column("id", number, primary_key=True, autoincrement=True),
        sa.Column("webhook", sa.String(63), sa.ForeignKey("webhook.name", name="fk_delivery_webhook"), nullable=False),
        sa.Column("event", number, sa.ForeignKey("event.id", name="fk_delivery_event"), nullable=False),
        sa.Column("subject", sa.String(128), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.Double(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
    )
    op.create_index("ix_delivery_state_due_at", "delivery", ["state", "due_at"])
    op.create_index("ix_delivery_webhook_state_subject", "delivery", ["webhook", "state", "subject"])


def downgrade() -> None:
    op.drop_table("delivery")
    op.drop_table("webhook")
