"""Lists are read a page at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, func, select


def one_page(tx: Connection, ordered: Select[Any], page: int, limit: int) -> tuple[Sequence[Row[Any]], int]:
    """The rows of one page of a query, and how many there are on all of them."""
    total = tx.execute(select(func.count()).select_from(ordered.order_by(None).subquery())).scalar_one()
    return tx.execute(ordered.offset((page - 1) * limit).limit(limit)).all(), total
