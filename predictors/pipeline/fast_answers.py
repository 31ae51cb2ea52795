"""The steps of a request that may take the fast path, for every protocol: observe, admit, answer or pass on."""

from __future__ import annotations

from typing import Any

from predictors.access.jwts import KeysWanted
from predictors.pipeline.fast_path import Reply, pass_on, refuse
from predictors.pipeline.pipeline import Pipeline
from predictors.protocol.errors import RequestError


def answer(pipeline: Pipeline, reply: Reply[Any]) -> None:
    """Sends a reply, refuses the request or passes it on to the slow path, now or later."""
    observer, gate = pipeline.observer, pipeline.gate
    if observer.watching and reply.exchange is None:
        reply.observe()
    if observer.sample and observer.samples():
        exchange = reply.exchange or reply.observe()
        exchange.sampled, exchange.size = True, reply.size
    if gate is not None and not reply.admitted:
        try:
            gate.admit("predict", reply.headers, reply.peer)
        except KeysWanted:
            reply.pass_on()  # the slow path can wait for them
            return
        except RequestError as error:
            refuse(reply, error)
            return
        reply.admitted = True
    served = pipeline.served_models.current()
    quick_path = None if served is None else served.quick_path
    if quick_path is not None and reply.size <= pipeline.max_fast_size:
        quick_path.answer(reply)
    else:
        pass_on(pipeline.admission, reply)
