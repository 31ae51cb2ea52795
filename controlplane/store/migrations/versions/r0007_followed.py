"""What moving model URIs have named, for serves that are rolled out when one moves."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "followed",
        sa.Column("serve", sa.String(63), sa.ForeignKey("serve.name", name="fk_followed_serve"), primary_key=True),
        sa.Column("env", sa.String(63), sa.ForeignKey("environment.name", name="fk_followed_env"), primary_key=True),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("named", sa.Text(), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("followed")
