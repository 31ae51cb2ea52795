"""The ASGI application: finds the route of a request, lets it in, and answers in the shape of its protocol."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

from predictors.pipeline.outcome import request_error
from predictors.pipeline.pipeline import Pipeline
from predictors.protocol.errors import NotReady, RequestError
from predictors.queueing.byte_budget import BudgetExhausted
from predictors.rest.asgi import ClientGone, Receive, Request, Response, Scope, Send, peer_of
from predictors.rest.connection import CALL_KEY, GIVE_UP, give_up_with_client, has_left
from predictors.rest.fast_call import FastCall, FastRoute
from predictors.rest.operations import Operations
from predictors.rest.predictions import Predictions
from predictors.rest.responses import error_response, protocol_of
from predictors.rest.routes import Route, Router
from predictors.runtime.garbage import forget_frames
from predictors.telemetry.exchange import CLIENT_GONE, Exchange


class App:
    """Every HTTP route of a predictor."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.gate = pipeline.gate
        self.admission = pipeline.admission
        predictions, operations = Predictions(pipeline), Operations(pipeline)
        codecs = predictions.codecs()
        self.router = Router([*predictions.routes(), *operations.routes()], codecs)
        self.fast_routes = {
            quote(path, safe="/:").encode(): FastRoute(pipeline, codec, self.router.frequent[path][0].path)
            for path, codec in codecs.items()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        exchange = self.exchange(scope)
        exchange.enter()
        request = Request(scope, receive, self.pipeline.inflater, self.admission.byte_budget)
        try:
            route = self.route(request, exchange)
            await self.authorize(route, request)
            self.admit(route, request)
            response = await route.handler(request)
        except (ClientGone, asyncio.CancelledError) as left:
            if isinstance(left, ClientGone) or has_left(scope):
                self.pipeline.record(exchange.protocol, CLIENT_GONE, exchange)
                return
            response = self.refuse(request, exchange, self.given_up())
        except Exception as error:
            known_error = self.admission.out_of_bytes() if isinstance(error, BudgetExhausted) else request_error(error)
            response = self.refuse(request, exchange, known_error)
        finally:
            request.release()
        self.pipeline.record(exchange.protocol, response.status, exchange, len(response.body))
        if exchange.error is not None:
            forget_frames(exchange.error)
        await self.respond(request, exchange, response, send)

    def exchange(self, scope: Scope) -> Exchange:
        """The one that began on the fast path, or a new one."""
        call: FastCall | None = scope.get(CALL_KEY)
        if call is not None and call.exchange is not None:
            return call.exchange
        observer = self.pipeline.observer
        exchange = observer.begin(scope["method"], scope["path"], scope["headers"], scope["client"])
        if call is None and observer.sample:  # the fast path has decided already
            exchange.sampled = observer.samples()
        return exchange

    def route(self, request: Request, exchange: Exchange) -> Route:
        route, request.parts = self.router.find(request.scope["method"], request.scope["path"])
        exchange.protocol, exchange.route = route.protocol, route.path
        if route.kind in ("probe", "metrics"):
            exchange.leave_trace()
        return route

    async def authorize(self, route: Route, request: Request) -> None:
        scope = request.scope
        if self.gate is not None and not (CALL_KEY in scope and scope[CALL_KEY].admitted):
            await self.gate.let_in(route.kind, scope["headers"], peer_of(scope))

    def admit(self, route: Route, request: Request) -> None:
        """Refuses a prediction before its body is read if too many wait; from then on it ends with its client."""
        if route.protocol:
            give_up_with_client(request.scope)
            if self.admission.full:
                raise self.admission.overloaded()

    def given_up(self) -> NotReady:
        if self.pipeline.draining:
            return NotReady("shutting down: the request was not answered within --grace-period")
        return NotReady("the request was given up in the server")

    def refuse(self, request: Request, exchange: Exchange, error: RequestError) -> Response:
        exchange.error = error
        return error_response(error, exchange.protocol or protocol_of(request.scope["path"]))

    async def respond(self, request: Request, exchange: Exchange, response: Response, send: Send) -> None:
        ids = ((name.decode(), value.decode()) for name, value in exchange.ids.fields)
        response.headers = (*response.headers, *ids)
        if self.pipeline.draining or request.much_is_left:
            response.headers = (*response.headers, ("connection", "close"))
        request.scope.pop(GIVE_UP, None)  # there is nothing to give up any more
        await response.send(send)
