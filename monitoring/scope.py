"""The scope of rules and dashboards: one serve, or all."""

from __future__ import annotations

from dataclasses import dataclass

ISVC_LABEL = "serving.kserve.io/inferenceservice"
"""Label that KServe puts on every pod of a serve."""
ISVC = "serving_kserve_io_inferenceservice"
"""The same label in Prometheus."""
BY = "namespace, model_name"


@dataclass(frozen=True, slots=True)
class Scope:
    """One serve, one namespace, or without both all serves."""

    namespace: str | None = None
    serve: str | None = None
    always: bool = False
    """Whether the serve always has a pod, and does not scale to zero."""

    @property
    def name(self) -> str:
        return self.serve or "all serves"

    def metrics(self, *more: str) -> str:
        """A selector for the predictor's own metrics."""
        return self.braced("model_name", *more)

    def pods(self, *more: str) -> str:
        """A selector for Prometheus' own metrics of the pods."""
        return self.braced(ISVC, *([] if self.serve else [f'{ISVC}!=""']), *more)

    def braced(self, label: str, *more: str) -> str:
        labels = {"namespace": self.namespace, label: self.serve}
        parts = [*(f'{key}="{value}"' for key, value in labels.items() if value), *more]
        return "{" + ",".join(parts) + "}" if parts else ""
