"""The end of a process: unready at once, new requests for a while, then only those in flight."""

from __future__ import annotations

import asyncio
import logging
import os
import time

from predictors.pipeline.pipeline import Pipeline
from predictors.pipeline.settings import Settings
from predictors.serving.exporters import Exporters
from predictors.serving.listeners import Listeners

log = logging.getLogger("predictors")

POD_DRAIN_SECONDS = 10.0  # longer than a cluster takes to remove a pod from its services
IDLE_SECONDS = 1  # for the threads, once no request is left


async def drain(pipeline: Pipeline, listeners: Listeners, exporters: Exporters, *, delayed: bool) -> bool:
    """Closes everything, within the grace period; False if a thread is still at work.

    `delayed`: a server that was ready takes new requests for the drain delay, so that callers can go elsewhere.
    """
    was_ready = pipeline.ready
    pipeline.draining = True
    delay = drain_delay(pipeline.settings)
    if delayed and was_ready and delay:
        log.info("unready; new requests are taken for another %g s", delay)
        await asyncio.sleep(delay)
    deadline = time.monotonic() + pipeline.settings.grace_period
    await listeners.close(pipeline.settings.grace_period)
    await pipeline.served_models.close()
    pipeline.executor.shutdown(wait=False, cancel_futures=True)
    exported = await exporters.close(deadline - time.monotonic())
    idle = asyncio.create_task(asyncio.to_thread(pipeline.executor.shutdown))
    await asyncio.wait({idle}, timeout=IDLE_SECONDS)
    return idle.done() and exported


def drain_delay(settings: Settings) -> float:
    """Seconds until nobody sends requests here any more."""
    if settings.drain_delay is not None:
        return settings.drain_delay
    return POD_DRAIN_SECONDS if "KUBERNETES_SERVICE_HOST" in os.environ else 0.0
