"""The fast path where a candidate answers a share of the requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from predictors.pipeline.fast_path import FastPath, Reply, pass_on
from predictors.queueing.admission import Admission
from predictors.telemetry.exchange import CANDIDATE

if TYPE_CHECKING:
    from predictors.pipeline.served_model import Pair
    from predictors.protocol.batch import Batch

T = TypeVar("T")


class SplitPath:
    """Without a key, requests that make up one batch are drawn together: two engine calls for them would cost more."""

    __slots__ = ("admission", "keyed", "last", "pair", "splitter")

    def __init__(self, pair: Pair, admission: Admission) -> None:
        self.pair, self.splitter, self.admission = pair, pair.splitter, admission
        self.keyed = pair.splitter.key is not None
        self.last: FastPath | None = None
        """Where the request before this one has gone."""

    def answer(self, reply: Reply[T]) -> None:
        last = self.last
        if last is not None and last.batcher.dispatching and not self.keyed and reply.exchange is None:
            last.answer(reply)
            return
        pair, batch = self.pair, None
        if self.splitter.reads_rows:
            batch = decoded(reply)
        if self.splitter.picks(reply.headers, batch):
            chosen = pair.candidate
            if reply.exchange is not None:
                reply.exchange.role = CANDIDATE
        else:
            chosen = pair.model
        self.last = path = None if chosen.features is not None else chosen.fast_path
        if path is None:
            pass_on(self.admission, reply, chosen.number, batch)
        else:
            path.answer(reply, batch)


def decoded(reply: Reply[T]) -> Batch | None:
    try:
        return reply.decode()
    except Exception:
        return None  # the path that is chosen fails over it as well, and knows what to do
