"""The fast path where a candidate answers a share of the requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from predictors.pipeline.fast_path import Reply, pass_on
from predictors.queueing.admission import Admission
from predictors.telemetry.exchange import CANDIDATE

if TYPE_CHECKING:
    from predictors.pipeline.served_model import Pair
    from predictors.protocol.batch import Batch

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SplitPath:
    pair: Pair
    admission: Admission

    def answer(self, reply: Reply[T]) -> None:
        pair, batch = self.pair, None
        if pair.splitter.reads_rows:
            batch = decoded(reply)
        if pair.splitter.picks(reply.headers, batch):
            chosen = pair.candidate
            if reply.exchange is not None:
                reply.exchange.role = CANDIDATE
        else:
            chosen = pair.model
        path = chosen.fast_path
        if path is None or chosen.features is not None:
            pass_on(self.admission, reply, chosen.number, batch)
        elif batch is None:
            path.answer(reply)
        else:
            path.answer(reply, batch)


def decoded(reply: Reply[T]) -> Batch | None:
    try:
        return reply.decode()
    except Exception:
        return None  # the path that is chosen fails over it as well, and knows what to do
