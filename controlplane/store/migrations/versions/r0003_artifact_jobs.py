"""Jobs that fetch artifacts from git repositories."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "artifact_job",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("serve", sa.String(63), sa.ForeignKey("serve.name", name="fk_artifact_job_serve"), nullable=False),
        sa.Column("version", sa.String(63), nullable=False),
        sa.Column("source", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("revision", sa.String(64), nullable=False),
        sa.Column("author", sa.String(190), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
    )
    op.create_index("ix_artifact_job_state", "artifact_job", ["state"])
    op.create_index("ix_artifact_job_serve_version", "artifact_job", ["serve", "version"])


def downgrade() -> None:
    op.drop_table("artifact_job")
