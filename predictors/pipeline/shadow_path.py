"""The fast path where a candidate is asked afterwards what the model was asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from predictors.candidate.shadow import ShadowRunner
from predictors.pipeline.fast_path import FastPath, Reply

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ShadowPath:
    path: FastPath
    shadow: ShadowRunner

    def answer(self, reply: Reply[T]) -> None:
        if self.shadow.wants(reply.headers):
            exchange = reply.exchange or reply.observe()
            exchange.shadow, exchange.size = self.shadow, reply.size
        self.path.answer(reply)
