"""A pod with metrics, for tests that read them."""

from __future__ import annotations

import threading
from http.server import ThreadingHTTPServer

from tests.http_server import QuietHandler


class MetricsPod(ThreadingHTTPServer):
    """A pod that counts what it is told to."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), MetricsHandler)
        self.text = ""
        self.status = 200
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def count(self, predictions: int, *, version: int = 1, loaded: int = 1, **errors: int) -> None:
        labels = f'model_name="m",model_version="{version}"'
        latency = "model_prediction_latency_seconds"
        self.text = (
            "\n".join(
                [
                    "# TYPE model_predictions_total counter",
                    f"model_predictions_total{{{labels}}} {predictions}",
                    "# TYPE model_prediction_errors_total counter",
                    *(
                        f'model_prediction_errors_total{{{labels},error_type="{kind}"}} {count}'
                        for kind, count in errors.items()
                    ),
                    f"# TYPE {latency} histogram",
                    f'{latency}_bucket{{{labels},le="0.01"}} {predictions // 2}',
                    f'{latency}_bucket{{{labels},le="+Inf"}} {predictions}',
                    "# TYPE model_loaded gauge",
                    f"model_loaded{{{labels}}} {loaded}",
                    "# TYPE model_reloads_total counter",
                    f'model_reloads_total{{model_name="m",outcome="failed"}} {predictions // 100}',
                ]
            )
            + "\n"
        )


class MetricsHandler(QuietHandler):
    server: MetricsPod

    def do_GET(self) -> None:
        self.reply(self.server.status if self.path == "/metrics" else 404, self.server.text.encode(), "text/plain")
