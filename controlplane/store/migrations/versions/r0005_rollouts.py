"""Rollouts and their steps."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "rollout",
        sa.Column("operation", sa.String(32), sa.ForeignKey("operation.id", name="fk_rollout_operation"),
                  primary_key=True),
        sa.Column("serve", sa.String(63), nullable=False),
        sa.Column("env", sa.String(63), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("baseline", sa.Integer(), nullable=False),
        sa.Column("plan", sa.JSON(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("step_at", sa.Double(), nullable=True),
        sa.Column("paused_at", sa.Double(), nullable=True),
        sa.Column("paused_by", sa.String(190), nullable=False),
        sa.Column("pause_reason", sa.Text(), nullable=False),
        sa.Column("keep_until", sa.Double(), nullable=True),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["serve", "env"], ["target.serve", "target.env"], name="fk_rollout_serve_env"),
    )  # fmt: skip
    op.create_index("ix_rollout_serve_env", "rollout", ["serve", "env"])
    op.create_table(
        "rollout_step",
        sa.Column("operation", sa.String(32), sa.ForeignKey("rollout.operation", name="fk_rollout_step_operation"),
                  primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("weight", sa.Integer(), nullable=False),
        sa.Column("begun_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
    )  # fmt: skip


def downgrade() -> None:
    op.drop_table("rollout_step")
    op.drop_table("rollout")
