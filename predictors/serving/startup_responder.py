"""Answers while no worker can: the server is alive, it is not ready, and this is how far it is."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from predictors.pipeline.pipeline import Pipeline
from predictors.pipeline.settings import Settings
from predictors.processes.ports import Ports
from predictors.processes.shared_state import SharedState
from predictors.processes.workers import STARTUP_RESPONDER
from predictors.rest.app import App
from predictors.rest.server import LastReply
from predictors.serving.drain import drain
from predictors.serving.exporters import Exporters
from predictors.serving.listeners import Listeners, log_ports

MAX_GRACE_SECONDS = 1  # nothing takes long that is asked before the model is loaded
STATUS_INTERVAL = 0.02  # seconds


async def respond_until_started(settings: Settings, ports: Ports, stop: asyncio.Event, shared: SharedState) -> None:
    """Until all workers are ready, or `stop` is set. A connection gets one reply: the next one finds a worker."""
    settings = replace(settings, grace_period=min(MAX_GRACE_SECONDS, settings.grace_period))
    pipeline = Pipeline(settings, shared, STARTUP_RESPONDER)
    listeners = await Listeners.start(LastReply(App(pipeline)), pipeline, ports)
    log_ports(ports)
    while not (stop.is_set() or listeners.http.done() or shared.startup.complete):
        pipeline.status = shared.startup.status or pipeline.status
        await asyncio.sleep(STATUS_INTERVAL)
    await listeners.web.finish(MAX_GRACE_SECONDS)
    await drain(pipeline, listeners, Exporters(settings), delayed=False)
