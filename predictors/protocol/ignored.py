"""What a request holds that its model does not take, and that is left out as on MLflow's server."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from predictors.protocol.names import MAX_LISTED, MAX_NAME, quoted

COLUMN, PARAM, KEY = "column", "param", "key"


class Ignored(dict[str, Sequence[str]]):
    """The names that were ignored, by kind: columns, params, and keys of the body."""

    def __str__(self) -> str:
        return ", ".join(f"{kind} {quoted(names, MAX_NAME)}" for kind, names in self.items())

    @property
    def header(self) -> str:
        """The value of the header `x-ignored`; characters that a header cannot hold are encoded as in URLs."""
        named = ((kind, name) for kind, names in self.items() for name in names[:MAX_LISTED])
        return ", ".join(f"{kind}={quote(name[:MAX_NAME])}" for kind, name in named)
