"""The fast path where a candidate answers a share of the requests."""

from __future__ import annotations

from random import random
from typing import TYPE_CHECKING, TypeVar

from predictors.pipeline.fast_path import FastPath, Reply, pass_on
from predictors.queueing.admission import Admission
from predictors.telemetry.exchange import CANDIDATE

if TYPE_CHECKING:
    from predictors.pipeline.served_model import Pair, ServedModel
    from predictors.protocol.batch import Batch

T = TypeVar("T")


class SplitPath:
    """Draws requests by chance. Those that make up one batch are drawn together: two engine calls would cost more."""

    __slots__ = ("admission", "candidate", "last", "model", "pair", "share")

    def __init__(self, pair: Pair, admission: Admission) -> None:
        self.pair, self.admission, self.share = pair, admission, pair.splitter.share
        self.model, self.candidate = quick(pair.model), quick(pair.candidate)
        self.last: FastPath | None = None
        """Where the request before this one has gone."""

    def answer(self, reply: Reply[T]) -> None:
        path = self.last
        if path is None or not path.batcher.dispatching:
            if random() < self.share:  # noqa: S311 - there is nothing to gain from predicting it
                self.last = path = self.candidate
                if path is None:
                    self.leave(reply, self.pair.candidate)
                    return
            else:
                self.last = path = self.model
                if path is None:
                    self.leave(reply, self.pair.model)
                    return
        if reply.exchange is not None and path is self.candidate:
            reply.exchange.role = CANDIDATE
        path.answer(reply)

    def leave(self, reply: Reply[T], chosen: ServedModel, batch: Batch | None = None) -> None:
        """Passes a request on to a model that has no fast path."""
        pass_on(self.admission, reply, chosen.number, batch)


class KeyedSplitPath(SplitPath):
    """Chooses by the key of each request."""

    __slots__ = ()

    def answer(self, reply: Reply[T]) -> None:
        pair, batch = self.pair, None
        if pair.splitter.reads_rows:
            batch = decoded(reply)
        if pair.splitter.picks(reply.headers, batch):
            chosen, path = pair.candidate, self.candidate
            if reply.exchange is not None:
                reply.exchange.role = CANDIDATE
        else:
            chosen, path = pair.model, self.model
        if path is None:
            self.leave(reply, chosen, batch)
        else:
            path.answer(reply, batch)


def quick(served: ServedModel) -> FastPath | None:
    return None if served.features is not None else served.fast_path


def decoded(reply: Reply[T]) -> Batch | None:
    try:
        return reply.decode()
    except Exception:
        return None  # the path that is chosen fails over it as well, and knows what to do
