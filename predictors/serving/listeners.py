"""HTTP and gRPC on the bound ports, from the first connection to the last reply."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from predictors.access.tls import server_context, tls_files
from predictors.grpc import service
from predictors.grpc.transport import calls as rpc
from predictors.pipeline.pipeline import Pipeline
from predictors.processes.ports import Ports
from predictors.rest.server import WebServer, web_config

log = logging.getLogger("predictors")


class Listeners:
    """The servers of one process; `http` is done when the HTTP server has ended."""

    def __init__(self, web: WebServer, http: asyncio.Task[None], grpc: rpc.GrpcServer | None) -> None:
        self.web, self.http, self.grpc = web, http, grpc

    @classmethod
    async def start(cls, app: Any, pipeline: Pipeline, ports: Ports) -> Listeners:
        settings = pipeline.settings
        web = WebServer(web_config(app, settings), settings.read_timeout)
        grpc = None
        if ports.grpc is not None:
            grpc = service.build(pipeline)
            own = settings.grpc_server == "own"
            await grpc.start(ports.grpc, server_context(settings, "h2") if own else tls_files(settings))
        return cls(web, asyncio.create_task(web.serve(sockets=[ports.http]), name="HTTP"), grpc)

    async def close(self, grace_period: float) -> None:
        """Accepts no more requests; those in flight have the grace period to finish."""
        closing = [asyncio.ensure_future(self.web.leave(self.http, grace_period))]
        if self.grpc is not None:
            closing.append(asyncio.ensure_future(self.grpc.stop(grace_period)))
        await asyncio.gather(*closing, return_exceptions=True)


def log_ports(ports: Ports) -> None:
    log.info("listening: HTTP on port %d%s", ports.http_port, f", gRPC on port {ports.grpc_port}" if ports.grpc else "")
