"""Looks at the evidence of a rollout."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
COLUMNS = ("looked_at", "verdict", "verdict_reason")


def upgrade() -> None:
    with op.batch_alter_table("rollout") as table:
        table.add_column(sa.Column("looked_at", sa.Double(), nullable=True))
        table.add_column(sa.Column("verdict", sa.String(16), nullable=False, server_default="inconclusive"))
        table.add_column(sa.Column("verdict_reason", sa.Text(), nullable=True))
    op.execute("UPDATE rollout SET verdict_reason = ''")
    with op.batch_alter_table("rollout") as table:
        table.alter_column("verdict_reason", existing_type=sa.Text(), nullable=False)
    op.create_table(
        "rollout_look",
        sa.Column("operation", sa.String(32), sa.ForeignKey("rollout.operation", name="fk_rollout_look_operation"),
                  primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("look", sa.JSON(), nullable=False),
    )  # fmt: skip


def downgrade() -> None:
    op.drop_table("rollout_look")
    with op.batch_alter_table("rollout") as table:
        for name in COLUMNS:
            table.drop_column(name)
