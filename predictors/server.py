"""The predictor as a `kserve.ModelServer`, for programs of your own: `Server().start([MyModel(...)])`."""

from __future__ import annotations

from kserve import ModelServer

from predictors.model.base import MLflowModel
from predictors.pipeline.settings import Settings
from predictors.serving.process import Serving


class Server(Serving, ModelServer):  # type: ignore[misc]  # kserve ships no types
    """A `kserve.ModelServer` with our HTTP and gRPC servers: alive before the model is loaded, ready once it is."""

    def __init__(self, settings: Settings | None = None) -> None:
        Serving.__init__(self, settings or Settings())
        ModelServer.__init__(
            self,
            http_port=self.settings.http_port,
            grpc_port=self.settings.grpc_port,
            workers=self.settings.workers,
            enable_grpc=self.settings.enable_grpc,
            grace_period=self.settings.grace_period,
            timeout_keep_alive=self.settings.keep_alive,
        )

    def registered(self, model: MLflowModel) -> None:
        self.register_model(model, self.settings.model_name)

    def start(self, models: list[MLflowModel]) -> None:
        """Serves one model until a signal, like KServe's own server; the model is loaded in the background."""
        if len(models) != 1:
            raise ValueError(f"expected exactly one model, got {len(models)}")
        self.opened = models[0]
        code = self.run()
        if code:
            raise SystemExit(code)
