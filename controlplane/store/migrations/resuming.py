"""MariaDB and MySQL change tables without transactions: a migration that was cut off has left a part of itself.

Each of its statements is whole or not there at all. Those that have been carried out are passed over the next time.
"""

from __future__ import annotations

import logging
from typing import Any

from alembic.ddl.mysql import MySQLImpl
from sqlalchemy.exc import DBAPIError

log = logging.getLogger("controlplane")

DONE = {1050: "table", 1060: "column", 1061: "index", 1359: "trigger"}
"""Errors of the server for what is there already."""


class ResumingImpl(MySQLImpl):
    """What Alembic asks for these databases, in place of its own."""

    __dialect__ = "mysql"

    def _exec(self, *arguments: Any, **options: Any) -> Any:
        try:
            return super()._exec(*arguments, **options)
        except DBAPIError as error:
            code = error.orig.args[0] if error.orig is not None and error.orig.args else None
            if code not in DONE:
                raise
            log.warning("a migration was cut off, and is carried on: a %s is there already", DONE[code])
            return None
