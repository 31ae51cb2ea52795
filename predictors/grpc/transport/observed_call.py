"""What every gRPC call tells of itself, whichever server it came to: its ids, its exchange, and how it ended."""

from __future__ import annotations

from predictors.grpc.transport.fields import Headers
from predictors.grpc.transport.methods import Head, Method
from predictors.telemetry.exchange import Exchange, Observer
from predictors.telemetry.ids import Ids, new_id


class ObservedCall:
    head: Head
    headers: Headers
    method: Method | None
    exchange: Exchange | None = None
    """Set where requests are observed, and for calls that run in a task."""
    over = False
    """Whether it has ended with a status; there is no second one."""

    @property
    def reply_ids(self) -> Ids:
        """The ids that the reply begins with."""
        head, exchange = self.head, self.exchange
        return Ids(head.request_id or new_id(), head.traceparent) if exchange is None else exchange.ids

    def begin_exchange(self, observer: Observer, client: tuple[str, int]) -> Exchange:
        """Begins the exchange and keeps it."""
        self.exchange = exchange = observer.begin("GRPC", self.head.path, self.headers, client)
        exchange.protocol = "grpc"
        if self.method is not None and self.method.probe:
            exchange.leave_trace()
        return exchange

    def enter(self) -> None:
        if self.exchange is not None:
            self.exchange.enter()

    def ended_with(self, status: str, size: int = 0) -> None:
        if self.over:
            return
        self.over = True
        if self.method is not None:
            self.method.ended(status)
        if self.exchange is not None:
            self.exchange.end(status, size)
