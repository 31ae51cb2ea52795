"""Which requests a candidate gets: a share of them, and always those of the same callers where there is a key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from random import random

from predictors.candidate.request_key import RequestKey
from predictors.protocol.batch import Batch

DIGEST_BYTES = 8
SLOTS = 2**64


class Splitter:
    """Stateless, so that all workers and all pods decide alike; a caller that a share includes is in every larger one.

    `salt` names the experiment: another one has other callers. A request without the key is the model's.
    """

    def __init__(self, share: float, key: str | None, salt: str, names: Sequence[str] = ()) -> None:
        self.share = share
        self.limit: bytes = min(round(share * SLOTS), SLOTS - 1).to_bytes(DIGEST_BYTES, "big")
        """Digests below it are in the share."""
        self.key = None if key is None else RequestKey.parse(key)
        self.salt = blake2b(salt.encode(), digest_size=16).digest()
        self.names = names
        decides = self.key if 0 < share < 1 else None
        self.reads_rows = decides is not None and decides.in_rows
        self.header = None if decides is None or decides.in_rows else decides.header

    def picks(self, headers: Iterable[tuple[bytes, bytes]], batch: Batch | None = None) -> bool:
        """Whether a request is the candidate's; `batch` is needed if `reads_rows`."""
        if self.header is not None:
            for name, value in headers:
                if name == self.header:
                    return self.holds(value)
            return False
        if not self.reads_rows or self.key is None:
            return random() < self.share  # noqa: S311 - there is nothing to gain from predicting it
        key = None if batch is None else self.key.of_rows(batch, self.names)
        return key is not None and self.holds(key)

    def holds(self, value: bytes) -> bool:
        return blake2b(self.salt + value, digest_size=DIGEST_BYTES).digest() < self.limit
